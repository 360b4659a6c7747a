"""Gates: what a version must show, on our own rows, before anybody may promote it.

policy       what is asked, as the sequence file says
evidence     the cells and the rows' scores that answer it
statistics   paired one-sided tests that hold together (Holm)
rules        what is a fact: certificate, dependency, coverage, cells, test sets
comparisons  what is measured: guards, forgetting, learning, plasticity
references   what a task reaches alone
judging      all of it about one version
report       kept for ever, with the policy it was judged by
sanity       a policy that can never refuse, or never pass
"""

from registry.gating.judging import judge as judge
from registry.gating.policy import policy_of as policy_of
from registry.gating.report import record as record
