mkdir -p /data/tv/logs/run
cat > /data/tv/logs/run/slurm.sh <<'END_OF_SCRIPT'
#!/bin/bash
# Run by Slurm, once for each rank. One rank by hand, on any machine:
#   /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks --rank R --world-size 128
module load cuda
ulimit -c 0
export TRACKVERSE_EXTRACT__WORKERS=3
export WORD='it'"'"'s'
exec /opt/py/bin/python -P -m trackverse_slurm.task --log-dir /data/tv/logs/run --ranks 0-9 --ranks-per-task 4 --world-size 128 --max-requeues 20 --requeue-delay 3600 --offset "${1:-0}" -- /opt/py/bin/python -m trackverse_cli --root /data/tv extract-tracks
END_OF_SCRIPT
sbatch --parsable --requeue --open-mode=append --nodes=1 --ntasks=1 --array=0,4,8 '--job-name=my tracks' --output=/data/tv/logs/run/slurm-%A_%a.out --signal=B:USR1@120 --time=2-00:00:00 --cpus-per-task=64 --mem=200G --gres=gpu:4 --partition=gpu,long --account=lab --qos=high '--constraint=a100&ib' '--nodelist=n[1-4]' --exclude=n3 --mail-user=me@example.org '--comment=it'"'"'s mine' /data/tv/logs/run/slurm.sh 0
