"""Communities: who belongs together in a novel and in a club, and who stands between.

Characters of Les Misérables and members of Zachary's karate club, as they come with networkx. With NMFKIT_DATA, also
e-mail in a research institute (graphs/email-Eu-core.txt.gz), in a folder of its own.
"""

import warnings

import numpy as np
from cases import COLOURS, canvas, image, keep, of_package, options, well_known

import nmfkit
from nmfkit.clustering import agreement
from nmfkit.report import write_report

CAST, CLUBS, DEPARTMENTS = 6, 2, 42
"""Communities asked for. Scenes of the novel know no number; the club split in two."""
LABELS = "graphs/email-Eu-core-department-labels.txt"


def main():
    given = options(__doc__)
    of_package("networkx", install='"nmfkit[graphs]"')
    sweeps = 20 if given.quick else 500
    a, names = novel()
    result = fitted(a, CAST, sweeps)
    result.save(given.out / "run.zarr", overwrite=True)
    write_report(result, given.out / "report.html", a, overwrite=True)
    tell(result, names)
    friends, members, club = karate()
    halves = fitted(friends, CLUBS, sweeps)
    print(f"karate: {agreement(halves.labels, club).accuracy:.3f} went where their community went")
    draw(given.out, a, result, names, halves, members, club)
    if found := well_known("graphs/email-Eu-core.txt.gz"):
        mail(given.out / "mail", found, sweeps)
    else:
        print("e-mail is left out: set NMFKIT_DATA to a folder that has graphs/email-Eu-core.txt.gz")


def novel():
    """How often two characters are in a scene together, and their names."""
    import networkx

    graph = networkx.les_miserables_graph()
    return similarity(networkx.to_scipy_sparse_array(graph, dtype=float)), list(graph)


def karate():
    """Who is whose friend, the members' numbers, and whom each of them followed when the club split."""
    import networkx

    graph = networkx.karate_club_graph()
    club = np.array([graph.nodes[member]["club"] for member in graph])
    return similarity(networkx.to_scipy_sparse_array(graph, weight=None, dtype=float)), list(graph), club


def similarity(a):
    """The normalised cut of a graph, nobody being joined to themselves."""
    return nmfkit.similarity(a, "graph:diagonal=drop")


def fitted(a, rank, sweeps):
    """A symmetric factorization."""
    return nmfkit.fit(a, model="symnmf", rank=rank, max_sweeps=sweeps, tol=1e-6)


def tell(result, names):
    """The characters of each community with the largest entries, and those who are in two."""
    for k in range(CAST):
        leading = [names[i] for i in np.argsort(-result.w[:, k])[:6]]
        print(f"community {k + 1}: {np.count_nonzero(result.labels == k):3} characters, {', '.join(leading)}")
    between = np.flatnonzero(result.memberships.max(axis=1) < 0.6)
    print(f"between communities: {', '.join(names[i] for i in between)}")


def mail(folder, path, sweeps):
    """Communities of e-mail, and the departments that they are."""
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nmfkit.Caution)  # some write to nobody but themselves
        nmfkit.convert(f"edges:{path}", folder / "a.zarr", similarity="graph:diagonal=drop", overwrite=True)
    result = fitted(folder / "a.zarr", DEPARTMENTS, sweeps)
    result.save(folder / "run.zarr", overwrite=True)
    write_report(result, folder / "report.html", labels=str(well_known(LABELS)), overwrite=True)
    found = agreement(result.labels, np.loadtxt(well_known(LABELS), dtype=int)[:, 1])
    print(f"e-mail: accuracy {found.accuracy:.3f}, NMI {found.nmi:.3f}, {found.unclustered} in no community")


# --- the picture ----------------------------------------------------------------------------------------------


def draw(folder, a, result, names, halves, members, club):
    """Above the novel: its graph by community, and parts of every character; below the club."""
    figure = canvas(8, 6.8)
    above, below = figure.subfigures(2, 1, height_ratios=(4.6, 1.5))
    graph, parts = above.subplots(1, 2, width_ratios=(1, 1.15))
    order = sorted_by_community(result)
    image(graph, np.sqrt(a.toarray()[np.ix_(order, order)]), "Les Misérables, by community", cmap="Greys")
    edges = np.flatnonzero(np.diff(result.labels[order])) + 0.5
    for edge in edges:
        graph.axhline(edge, color=COLOURS[0], linewidth=0.5)
        graph.axvline(edge, color=COLOURS[0], linewidth=0.5)
    stacked(parts, result.memberships[order], horizontal=True)
    shown = named(result, order)
    parts.set_yticks(shown, [names[order[i]] for i in shown], fontsize=7)
    parts.set(xlim=(0, 1), ylim=(len(order) - 0.5, -0.5), title="to which community they belong, and how far")
    ax = below.subplots()
    order = np.argsort(halves.memberships[:, 0])
    stacked(ax, halves.memberships[order], horizontal=False)
    followed = [f"{members[i]}{'*' if club[i] == 'Officer' else ''}" for i in order]
    ax.set_xticks(range(len(order)), followed, fontsize=7)
    ax.set(xlim=(-0.5, len(order) - 0.5), title="Zachary's karate club; * followed the officer")
    keep(figure, folder, colours=48)


def sorted_by_community(result):
    """Nodes by community, and in each by how surely they are in it."""
    return np.lexsort((-result.memberships.max(axis=1), result.labels))


def named(result, order, apart=2):
    """Places that get a name: the three largest entries of each community, then nodes in two, where there is room."""
    leading = [i for k in range(CAST) for i in np.argsort(-result.w[:, k])[:3]]
    between = np.flatnonzero(result.memberships.max(axis=1) < 0.6)
    place, places = np.argsort(order), []
    for node in [*leading, *between]:
        if all(abs(place[node] - other) >= apart for other in places):
            places.append(int(place[node]))
    return places


def stacked(ax, parts, *, horizontal):
    """A bar for each row, of its parts."""
    before, at = np.zeros(len(parts)), np.arange(len(parts))
    for part, colour in zip(parts.T, COLOURS, strict=False):
        if horizontal:
            ax.barh(at, part, left=before, color=colour, height=1)
        else:
            ax.bar(at, part, bottom=before, color=colour, width=0.9)
        before += part
    (ax.set_xticks if horizontal else ax.set_yticks)([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


if __name__ == "__main__":
    main()
