"""128 ranks over weeks, on paper: the real decisions with simulated downloads and cutting.

`python -m benchmarks.fleet [--tracks 3780000,31900000] [--ranks 128] [--seed 7]`

Real code decides where there is something to decide: `shards.assign` deals out the videos,
`pace.Rate` spaces the turns, `pace.cooldown` folds the throttles, `reasons` says what is tried
again and when, `ledger.entries.encode_line` gives the bytes, `plan.make_forecast` the forecast.
Time, the host, the line and the cores are simulated: `world` makes the videos, `assumptions` holds
every number that was measured or assumed, `simulation` plays, `room` holds its model of turns
against the real files of a pace, `report` counts and prints.
"""
