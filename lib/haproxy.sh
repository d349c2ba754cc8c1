# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Does a running HAProxy splice?  It does with an option splice-* in its configuration, as that was
# when it was started.  Sourced by load.sh.

# Any process can be called so, and name any file as its configuration: a FIFO, a device, one of
# /proc.  READER opens it: a user that owns nothing, so that only what everybody may read is read,
# and that runs nothing else, so that nobody can trace it.  It must be a regular file, also once it
# is open.  A link of another root would lead to a file of this one: its target is not known.
READER=4294967000

# The arguments are `links` or `no-links`, a time in ms since 1970, and files.  Says `yes` where one
# splices, and `no` where none does; ends with 3 where one is not there, with another status where
# it is not to be read, was changed since that time, or a tool fails.  HAProxy takes quotes,
# backslashes, \\xHH and variables within words; a variable can also be words, and a line.
READ_FILES='
	set -o pipefail
	may=$1 then=$2
	shift 2
	is_as_then() {
		local changed
		changed=$(stat "$@") && ((${changed/./} <= then))
	}
	for path; do
		[[ -e $path ]] || exit 3
		files=("$path")
		[[ ! -d $path ]] || { is_as_then -L -c %.3Z "$path" && files=("$path"/*.cfg); } || exit 2
		for file in "${files[@]}"; do
			for ((part = ${#file}; part > 1; part--)); do
				[[ ! -L ${file:0:part} ]] || { [[ $may == links ]] && is_as_then -c %.3Z "${file:0:part}"; } ||
					exit 2
			done
			[[ -f $file ]] && exec <"$file" && [[ -f /dev/fd/0 && -s /dev/fd/0 ]] || exit 2
			is_as_then -L -c %.3Z /dev/fd/0 || exit 2
			head -c 4194304 | sed "s/\\\\x/[*]/g" | tr -d "\"\\\\\047" |
				grep -aE "^[^#]*(splice|[[][*][]])|^[[:space:]]*(option[[:space:]].*)?[$]" >/dev/null
			case ${PIPESTATUS[*]} in
			"0 0 0 0")
				echo yes
				exit
				;;
			"0 0 0 1") ;;
			*) exit 2 ;;
			esac
			rest=$(head -c 1 | wc -c) && [[ $rest == 0 ]] || exit 2
		done
	done
	echo no'

# The arguments are a process, READ_FILES and READER; says what READ_FILES does.  Each look into
# /proc/PID can wait.
JUDGE_ONE='
	pid=$1 status=3 absolute=0 files=()
	mapfile -d "" -t arguments < <(head -c 65537 "/proc/$pid/cmdline") # a user may have given millions
	printf -v text "%s " "${arguments[@]}"
	((${#arguments[@]} < 4096 && ${#text} <= 65536)) || exit 2
	for ((i = 1; i < ${#arguments[@]}; i++)); do
		case ${arguments[i]} in
		-f*) files+=("${arguments[++i]:-}") ;; # of an option HAProxy looks at this letter alone
		-C*) exit 2 ;;
		--)
			files+=("${arguments[@]:i + 1}")
			break
			;;
		esac
	done
	[[ ${#files[@]} -gt 0 ]] || exit 2
	for path in "${files[@]}"; do
		[[ $path != /* ]] || ((++absolute))
	done
	((absolute == 0 || absolute == ${#files[@]})) || exit 2 # one directory leads to all
	mapfile -t lines <"/proc/$pid/status" # as in check_capabilities()
	for line in "${lines[@]}"; do
		[[ $line != PPid:* ]] || parent=${line#PPid:[[:space:]]}
	done
	# It has read them when it began; but a master process, which has workers, at each reload.  Their
	# times are 4 ms late at most, and its own is one of 10.
	read -r _ fields <"/proc/$pid/stat" && read -ra fields <<<"${fields##*) }" # from the third one on
	read -r up _ </proc/uptime
	read -r workers <"/proc/$pid/task/$pid/children"
	((then = ${EPOCHREALTIME/./} / 1000 - 10#${up/./} * 10 + fields[19] * 10 + 20))
	[[ -z $workers ]] || then=${EPOCHREALTIME/./}
	# Many change their root once they have read it: the parent, of the same files, still sees it.
	for base in "$pid" "$parent"; do
		((status == 3)) && [[ /proc/$base/ns/mnt -ef /proc/$pid/ns/mnt ]] || break
		# Who has started it, if not its own master, may stand anywhere.
		[[ $base == "$pid" || ${files[0]} == /* || $(<"/proc/$base/comm") == haproxy ]] || exit 2
		from=cwd may=no-links
		[[ /proc/$base/ns/mnt -ef /proc/self/ns/mnt && /proc/$base/root -ef / ]] && may=links
		[[ ${files[0]} != /* ]] || from=root
		cd "/proc/$base/$from" || exit 2
		setpriv --reuid "$3" --regid "$3" --clear-groups --inh-caps=-all \
			bash -c "$2" bash "$may" "$then" "${files[@]/#/./}"
		status=$?
	done'

# splices PID: has a file of its configuration an option splice-*?  1: no; 2: that is not to be
# known.
splices() {
	local said
	# It goes where the process is: there a member of PATH or LD_LIBRARY_PATH that is no absolute path
	# would lead to the files of whoever has started that.
	said=$(bounded 2 env -i LC_ALL=C PATH="$PATH" \
		bash -c "$JUDGE_ONE" bash "$1" "$READ_FILES" "$READER")
	case $said in
	yes) return 0 ;;
	no) return 1 ;;
	*) return 2 ;;
	esac
}
