#!/bin/sh
# Keeps the daemon running beside the instances, which live on when it dies; ends with it when the
# container is told to stop. With arguments it runs those instead.
set -u

[ "$#" -eq 0 ] || exec "$@"

USAGE=2       # the settings of a first start are wrong: no new start mends that
STABLE=60     # seconds after which a death is the first one again
LONGEST=30    # seconds between two starts at most

child=
ending=
read -r own <"/proc/$$/comm"

# SIGTERM, whatever came: what a shell starts in the background ignores SIGINT and SIGQUIT. Until the
# child has become another program it is this shell once more, and would lose the signal.
end_child() {
  while { read -r name <"/proc/$child/comm"; } 2>/dev/null && [ "$name" = "$own" ]; do sleep 0.01; done
  kill -s TERM "$child" 2>/dev/null
}

end() {
  ending=yes
  [ -z "$child" ] || end_child
}
trap end TERM INT QUIT HUP

# Waits for the child also when a signal comes in between, which ends the shell's `wait`.
await() {
  while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
  return "$code"
}

# The same for a child that a signal may have been too early for.
await_or_end() {
  [ -z "$ending" ] || end_child
  await
}

uptime() {
  read -r seconds _ </proc/uptime
  echo "${seconds%.*}"
}

delay=0
ran=          # whether a daemon may have left instances, which end with this container
while :; do
  began=$(uptime)
  comfysup serve &
  child=$!
  await_or_end
  code=$?
  [ "$code" -ne 0 ] || exit 0
  lived=$(($(uptime) - began))
  if [ "$code" -ne "$USAGE" ] || [ "$lived" -ge "$STABLE" ]; then ran=yes; fi
  [ -n "$ran" ] || exit "$code"
  if [ -z "$ending" ]; then
    [ "$lived" -lt "$STABLE" ] || delay=0
    echo "comfysup ended with $code; it is started again in $delay s, its instances live on" >&2
    sleep "$delay" &
    child=$!
    await_or_end
    delay=$((delay ? delay * 2 : 1))
    [ "$delay" -le "$LONGEST" ] || delay=$LONGEST
  fi
  if [ -n "$ending" ]; then
    # It died before it could end the instances: one more takes them over for that alone.
    comfysup serve --end &
    child=$!
    await
    exit
  fi
done
