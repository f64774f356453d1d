mkdir -p /data/tv/logs/run
cat > /data/tv/logs/run/slurm.sh <<'END_OF_SCRIPT'
#!/bin/bash
# Run by Slurm, once for each rank. One rank by hand, on any machine:
#   /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks --rank R --world-size 128
export TRACKVERSE_EXTRACT__WORKERS=10
exec /opt/py/bin/python -P -m trackverse_slurm.task --log-dir /data/tv/logs/run --ranks 2,5,7-9,64-65,127 --ranks-per-task 1 --world-size 128 --max-requeues 3 --requeue-delay 600 --offset "${1:-0}" -- /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks
END_OF_SCRIPT
sbatch --parsable --requeue --open-mode=append --nodes=1 --ntasks=1 --array=0,3,5-7,62-63%3 --job-name=trackverse-extract-tracks --output=/data/tv/logs/run/slurm-%A_%a.out --signal=B:USR1@300 --time=24:00:00 --cpus-per-task=10 --mem=32G --begin=now+90 /data/tv/logs/run/slurm.sh 2
sbatch --parsable --requeue --open-mode=append --nodes=1 --ntasks=1 --array=0%2 --job-name=trackverse-extract-tracks --output=/data/tv/logs/run/slurm-%A_%a.out --signal=B:USR1@300 --time=24:00:00 --cpus-per-task=10 --mem=32G --begin=now+90 /data/tv/logs/run/slurm.sh 127
