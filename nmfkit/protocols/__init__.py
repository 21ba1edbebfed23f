"""What each kind of part must offer, and the capabilities that parts may offer and need.

Capabilities are Protocols: mypy sees them, `isinstance` checks them before any work starts, and the first line
of each docstring is the phrase that `check` prints. Only names are checked at run time; behaviour is what the
contracts of `nmfkit.testing` hold.

Letters: X (m, n) samples × features, W (m, r), H (r, n), ŷ = W H. A *factor* F is always seen as (rows, rank):
a row block of W, or the whole of Hᵀ.
"""

from __future__ import annotations

from nmfkit.protocols.exchange import Rows as Rows
from nmfkit.protocols.exchange import Shared as Shared
from nmfkit.protocols.exchange import Stats as Stats
from nmfkit.protocols.exchange import Step as Step
from nmfkit.protocols.losses import HasDataSurrogate as HasDataSurrogate
from nmfkit.protocols.losses import HasEager as HasEager
from nmfkit.protocols.losses import HasGram as HasGram
from nmfkit.protocols.losses import HasJoint as HasJoint
from nmfkit.protocols.losses import HasSplit as HasSplit
from nmfkit.protocols.losses import Loss as Loss
from nmfkit.protocols.models import Calibrates as Calibrates
from nmfkit.protocols.models import Cautions as Cautions
from nmfkit.protocols.models import Closes as Closes
from nmfkit.protocols.models import Continues as Continues
from nmfkit.protocols.models import Ends as Ends
from nmfkit.protocols.models import Gathers as Gathers
from nmfkit.protocols.models import Guarded as Guarded
from nmfkit.protocols.models import HasLevels as HasLevels
from nmfkit.protocols.models import HasScale as HasScale
from nmfkit.protocols.models import HasUnfitted as HasUnfitted
from nmfkit.protocols.models import Ingredients as Ingredients
from nmfkit.protocols.models import KeepsBest as KeepsBest
from nmfkit.protocols.models import LayerLosses as LayerLosses
from nmfkit.protocols.models import Level as Level
from nmfkit.protocols.models import Model as Model
from nmfkit.protocols.models import OwnRules as OwnRules
from nmfkit.protocols.models import SweepsToStart as SweepsToStart
from nmfkit.protocols.models import WarmsUp as WarmsUp
from nmfkit.protocols.models import Wide as Wide
from nmfkit.protocols.places import Advance as Advance
from nmfkit.protocols.places import Executor as Executor
from nmfkit.protocols.places import Initializer as Initializer
from nmfkit.protocols.places import RowStore as RowStore
from nmfkit.protocols.places import Source as Source
from nmfkit.protocols.places import Sweep as Sweep
from nmfkit.protocols.regularizers import HasEntrywise as HasEntrywise
from nmfkit.protocols.regularizers import HasProx as HasProx
from nmfkit.protocols.regularizers import HasQuadratic as HasQuadratic
from nmfkit.protocols.regularizers import Regularizer as Regularizer
from nmfkit.protocols.regularizers import Relative as Relative
from nmfkit.protocols.regularizers import Sided as Sided
from nmfkit.protocols.regularizers import Whole as Whole
from nmfkit.protocols.rules import Chooses as Chooses
from nmfkit.protocols.rules import Extrapolates as Extrapolates
from nmfkit.protocols.rules import Incremental as Incremental
from nmfkit.protocols.rules import Majorises as Majorises
from nmfkit.protocols.rules import StepsJointly as StepsJointly
from nmfkit.protocols.rules import UpdateRule as UpdateRule
from nmfkit.protocols.rules import UpdatesRows as UpdatesRows
from nmfkit.protocols.sweeping import Draw as Draw
from nmfkit.protocols.sweeping import Draws as Draws
from nmfkit.protocols.sweeping import Parted as Parted
from nmfkit.protocols.sweeping import Pass as Pass
from nmfkit.protocols.sweeping import Phased as Phased
from nmfkit.protocols.telling import Diagnoses as Diagnoses
from nmfkit.protocols.telling import Tells as Tells
from nmfkit.protocols.views import Embeds as Embeds
from nmfkit.protocols.views import HasView as HasView
from nmfkit.protocols.views import Judged as Judged
from nmfkit.protocols.views import Measure as Measure
from nmfkit.terms import Halves as Halves
from nmfkit.terms import HasPulled as HasPulled
from nmfkit.terms import HasSums as HasSums
from nmfkit.terms import HasSurrogate as HasSurrogate
from nmfkit.terms import Meeting as Meeting
from nmfkit.terms import Moment as Moment
from nmfkit.terms import Penalty as Penalty
from nmfkit.terms import Pulled as Pulled
from nmfkit.terms import Pulls as Pulls
from nmfkit.terms import Split as Split
from nmfkit.terms import Term as Term
from nmfkit.weighted import HasTerms as HasTerms
from nmfkit.weighted import HasWeighedPulled as HasWeighedPulled
