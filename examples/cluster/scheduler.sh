#!/usr/bin/env bash
# A dask scheduler and two workers as plain commands, and a fit on them.
#
#     bash examples/cluster/scheduler.sh
#
# Needs nothing but nmfkit, whose environment is active. On several machines, run the scheduler on one of them and a
# worker on each of the others, with a folder that all of them share in place of the temporary one, and leave out
# 127.0.0.1, which keeps this demonstration to itself.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill $worker; wait $worker; kill $scheduler; wait; rm -rf "$folder"' EXIT

dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 \
    --scheduler-file "$folder/scheduler.json" 2> "$folder/scheduler.log" &
scheduler=$!
until [ -s "$folder/scheduler.json" ]; do sleep 0.1; done

dask worker --scheduler-file "$folder/scheduler.json" --nworkers 2 --nthreads 1 --memory-limit 1GiB \
    --local-directory "$folder" 2> "$folder/worker.log" &
worker=$!

# The client waits for the first worker.
python "$(dirname "$0")/counts.py" "$folder/counts.zarr"
nmfkit fit "$folder/counts.zarr" --loss kl --rank 5 --max-sweeps 15 -o "$folder/run.zarr" \
    --scheduler-file "$folder/scheduler.json"
