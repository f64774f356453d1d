mkdir -p '/data/100% of it'"'"'s "logs"; ok'
cat > '/data/100% of it'"'"'s "logs"; ok/slurm.sh' <<'END_OF_SCRIPT'
#!/bin/bash
# Run by Slurm, once for each rank. One rank by hand, on any machine:
#   '/opt/my py/python' 'it'"'"'s' '$HOME' '' 'a'$'\r'' b' 'ü*' --rank R --world-size 3
export TRACKVERSE_EXTRACT__WORKERS=10
export WORD='`id`
%A'
exec /opt/py/bin/python -P -m trackverse_slurm.task --log-dir '/data/100% of it'"'"'s "logs"; ok' --ranks 1 --ranks-per-task 1 --world-size 3 --max-requeues 20 --requeue-delay 3600 --offset "${1:-0}" -- '/opt/my py/python' 'it'"'"'s' '$HOME' '' 'a'$'\r''
b' 'ü*'
END_OF_SCRIPT
sbatch --parsable --requeue --open-mode=append --nodes=1 --ntasks=1 --array=1 --job-name=odd '--output=/data/100%% of it'"'"'s "logs"; ok/slurm-%A_%a.out' --signal=B:USR1@120 --time=24:00:00 --cpus-per-task=10 --mem=32G '/data/100% of it'"'"'s "logs"; ok/slurm.sh' 0
