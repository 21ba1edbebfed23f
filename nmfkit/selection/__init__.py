"""How many components, and which: many fits side by side, compared.

| module | what |
|---|---|
| `select` | `select_rank`: fits of many ranks, a table, a recommendation |
| `consensus` | `consensus`: one robust set of components from the replicates of one rank |
| `speckles`, `judge` | entries hidden from a fit, and the loss on them |
| `matching`, `agreement`, `density` | whether replicates agree, by components and by rows; what they agree on |
| `job`, `work`, `schedule`, `store` | one fit; what all of them share; where they run; where they are kept |
| `table`, `advice`, `picture` | what is shown |
"""
