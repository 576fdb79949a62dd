# What the scripts of this folder share: a temporary folder that goes away, processes that end with the script, free ports.
# Sourced, by bash with `set -euo pipefail`.

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$bench")
work=$(mktemp -d "${TMPDIR:-/tmp}/perigee-bench.XXXXXX")
chmod 711 "$work"               # nginx's workers may be another user
children=()
PATH=$PATH:/usr/sbin            # Debian keeps servers there

fault='a command has failed'

# die TEXT: ends the script; what it says stands last, below the logs.
die() { fault=$*; exit 1; }

leave() {
	local status=$? pid
	for pid in ${children[@]+"${children[@]}"}; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	if [ "$status" -ne 0 ]; then
		local log
		for log in "$work"/*.err; do
			if [ -s "$log" ]; then printf -- '--- %s\n' "$(basename "$log")" >&2; tail -n 20 "$log" >&2; fi
		done
		printf '*** %s (exit status %d)\n' "$fault" "$status" >&2
	fi
	if [ -n "${PERIGEE_KEEP:-}" ]; then echo "kept $work" >&2; else rm -rf "$work"; fi
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# need PROGRAM…: fails where one is missing.
need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || die "$program is not installed"
	done
}

# start NAME COMMAND…: runs it until the script ends. Its PID is in $started, its output in $work/NAME.out and NAME.err.
start() {
	local name=$1
	shift
	"$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
	started=$!
	children+=("$started")
}

# end PID: ends a process that start has started, and waits for it.
end() {
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

open_port() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: puts into $port one of loopback that nobody listens on, below those that the system gives to clients.
free_port() {
	local i
	for ((i = 0; i < 100; i++)); do
		port=$((20000 + RANDOM % 12000))
		case " ${ports_given:-} " in *" $port "*) continue ;; esac
		if ! open_port "$port"; then
			ports_given="${ports_given:-} $port"
			return
		fi
	done
	die 'no free port'
}

# await_port PORT PID: waits until the process listens.
await_port() {
	local i
	for ((i = 0; i < 200; i++)); do
		if open_port "$1"; then return; fi
		kill -0 "$2" 2>/dev/null || die "a server ended before it listened on port $1"
		sleep 0.05
	done
	die "nothing listens on port $1"
}

# build NAME…: builds programs of this repository into $work: perigee, or those of this folder.
build() {
	local name
	need go
	for name in "$@"; do
		case $name in
		perigee) (cd "$repo" && go build -o "$work/perigee" ./cmd/perigee) ;;
		*) (cd "$repo" && go build -o "$work/$name" "./bench/$name") ;;
		esac
	done
}

# nginx_user: the user directive for workers, which nginx obeys only as root.
nginx_user() {
	if [ "$(id -u)" -eq 0 ]; then echo "user nobody $(id -gn nobody);"; fi
}

# start_pair: perigee with a budget of 256 MiB before a scripted origin, as $perigee and $scripted (PIDs), $edge and $admin
# (ports) and $origin (URL).
start_pair() {
	free_port
	origin=http://127.0.0.1:$port
	start origin "$work/origin" -listen "127.0.0.1:$port"
	scripted=$started
	await_port "$port" "$scripted"
	free_port; edge=$port
	free_port; admin=$port
	start perigee "$work/perigee" proxy --to "$origin" --listen "127.0.0.1:$edge" --admin "127.0.0.1:$admin" --ram 256MiB
	perigee=$started
	await_port "$edge" "$perigee"
}
