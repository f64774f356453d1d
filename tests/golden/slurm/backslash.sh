mkdir -p '/data/back\slash/100%'
cat > '/data/back\slash/100%/slurm.sh' <<'END_OF_SCRIPT'
#!/bin/bash
# Run by Slurm, once for each rank. One rank by hand, on any machine:
#   /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks --rank R --world-size 128
export TRACKVERSE_EXTRACT__WORKERS=10
exec /opt/py/bin/python -P -m trackverse_slurm.task --log-dir '/data/back\slash/100%' --ranks 0 --ranks-per-task 1 --world-size 128 --max-requeues 20 --requeue-delay 3600 --offset "${1:-0}" -- /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks
END_OF_SCRIPT
sbatch --parsable --requeue --open-mode=append --nodes=1 --ntasks=1 --array=0 --job-name=trackverse-extract-tracks '--output=/data/back\\slash/100%/slurm.out' --signal=B:USR1@120 --time=24:00:00 --cpus-per-task=10 --mem=32G '/data/back\slash/100%/slurm.sh' 0
