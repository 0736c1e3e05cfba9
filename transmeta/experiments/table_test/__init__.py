"""How good methods are on targets that they have not seen, replayed from a table of recorded curves.

Conventions, which all figures share:

- The value of a trial is that at its last paid step. The incumbent is the trial with the best value so far; of equals
  the earlier one.
- Regret of the incumbent is clip((best − value) / (best − median), 0, 3), with best and median over the final values of
  the completed trials recorded on the target. A failed trial has 3, and so has a search before anything was measured.
- One step of a configuration costs 1 / (its recorded steps) evaluations, so a full run is one evaluation and a part of
  it is its share. Figures stand at k = 1 … N: the incumbent when k evaluations were spent; `anytime` is their mean.
  With a budget of cost X they stand at X/N, 2X/N, …, X instead, and moves cost their `cost_s`. A run ends where it
  diverges, and still costs the recorded steps that were asked for.
- Repetitions (seeds, and the sources in turn) are averaged first, then the targets of one data set (shots), which is
  the unit of intervals and tests.
"""
