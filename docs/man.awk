# SPDX-License-Identifier: GPL-2.0
#
# Makes a man page of what load.sh, status.sh or unload.sh says with --help:
#
#   NAME.sh - WHAT IT DOES
#   SECTION
#       TERM  text, after two blanks at least
#             more text
#       or text without a term

# What roff would take for a command or a dash that may be stretched.
function plain(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	return text ~ /^[.']/ ? "\\&" text : text
}

# The commands have other names when they are installed.
function installed(text) {
	gsub(/(sudo )?\.\//, "", text)
	while (match(text, /[a-z]+\.sh/))
		text = substr(text, 1, RSTART - 1) "tcpip-bypass-" substr(text, RSTART, RLENGTH - 3) \
			(section == "SEE ALSO" ? "(8)" : "") substr(text, RSTART + RLENGTH)
	return text
}

NR == 1 {
	name = "tcpip-bypass-" substr($1, 1, length($1) - 3)
	print ".TH " toupper(name) " 8"
	print ".SH NAME"
	sub(/^[^ ]+ - /, "")
	print plain(name) " \\- " plain(installed($0))
	next
}

/^[A-Z]/ {
	section = $0
	print ".SH " section
	if (section == "SYNOPSIS")
		print ".nf" # its lines stay as they are
	next
}

section == "SYNOPSIS" && NF {
	text = plain(installed(substr($0, 5)))
	if (!sub("^" plain(name), "\\fB&\\fR", text))
		sub(/^ +/, sprintf("%" (length(name) + 1) "s", ""), text)
	print text
	next
}

# Blank lines only part the sections.
NF {
	text = installed(substr($0, 5))
	if (match(text, /^[^ ]+( [^ ]+)?  +/)) {
		term = substr(text, 1, RLENGTH)
		text = substr(text, RLENGTH)
		sub(/ +$/, "", term)
		print ".TP"
		print "\\fB" plain(term) "\\fR"
	}
	sub(/^ +/, "", text)
	print plain(text)
}
