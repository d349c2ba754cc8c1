# SPDX-License-Identifier: GPL-2.0
#
# The figures of bench.sh's results.csv, or of several runs, as tables in Markdown; with
# -v form=chart as lines for charts.gp.
#
# A median is of all rounds of all runs, and its spread the middle half of them (of up to four rounds:
# all).  A ratio to plain TCP, or to the classic pair, is the median of the ratios within each round;
# a "~" says that these disagree, within that half, on which of the two is the higher: noise.

function median_of(list,    n, i, j, x, sorted, out) {
	n = split(list, sorted, " ")
	for (i = 2; i <= n; i++) {
		x = sorted[i] + 0
		for (j = i - 1; j > 0 && sorted[j] + 0 > x; j--)
			sorted[j + 1] = sorted[j]
		sorted[j + 1] = x
	}
	out = int((n + 3) / 4)
	low = sorted[out]
	high = sorted[n + 1 - out]
	return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function bytes(n) {
	if (n == "")
		return ""
	if (n >= 1048576)
		return n / 1048576 " MiB"
	return n >= 1024 ? n / 1024 " KiB" : n " B"
}

function number(x) {
	return x == "" ? "" : sprintf(x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : "%.2f", x)
}

function ratio_text(list,    m) {
	if (list == "")
		return ""
	m = median_of(list)
	return sprintf("%.2f%s (%.2f..%.2f)", m, low < 1 && high > 1 ? " ~" : "", low, high)
}

# Over the rounds: of column `c` for variant `v`, alone or divided by another one's.
function series(figure, v, c, by,    r, x, base, list) {
	for (r = 1; r <= rounds; r++) {
		x = cell[figure, v, r, c]
		base = cell[figure, by, r, c]
		if (x !~ /^[0-9.]+$/ || (by && !(base + 0)))
			continue
		list = list " " (by ? x / base : x)
	}
	return list
}

BEGIN {
	FS = OFS = ","
	VALUE = 9; P50 = 10; P99 = 11; CPU = 12
}

FNR == 1 { before = rounds }

/^#/ {
	if (form != "chart" && !($0 in said))
		print "- " substr($0, 3)
	said[$0]
	next
}

$1 == "group" { next }

NF != CPU {
	print FILENAME ": not a row of results: " $0 >"/dev/stderr"
	exit failure = 1
}

# Fields of a figure: group, pattern, size, connections, cores, unit.
{
	figure = $1 FS $2 FS $3 FS $4 FS $5 FS $8
	if (!(figure in seen)) {
		seen[figure]
		order[++figures] = figure
	}
	has[figure, $6]
	round = before + $7
	if (round > rounds)
		rounds = round
	for (i = VALUE; i <= CPU; i++)
		cell[figure, $6, round, i] = $i
	if ($VALUE == "fail")
		failed[figure, $6]++
}

function table_head(group) {
	print "\n### " group "\n"
	print "| pattern | size | connections | cores | variant | median | middle half | ratio to plain TCP | to classic | p50 us | p99 us | CPU us/op | ratio |"
	print "|---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"
}

END {
	if (failure)
		exit failure
	# Always in this order, whichever came first.
	variants = split("plain ours classic unix", variant, " ")
	for (i = 1; i <= figures; i++) {
		split(order[i], f, FS)
		if (form != "chart" && f[1] != group)
			table_head(group = f[1])
		for (j = 1; j <= variants; j++)
			if ((order[i], variant[j]) in has)
				show(order[i], variant[j])
	}
}

function show(figure, v,    value, values, from, to, ratio, ratios, cpu, p50, p99, what) {
	values = series(figure, v, VALUE)
	ratios = v == "plain" ? "" : series(figure, v, VALUE, "plain")
	if (form == "chart") {
		if (values == "")
			return
		value = median_of(values)
		ratio = ratios == "" ? "" : median_of(ratios)
		from = ratios == "" ? "" : low
		to = ratios == "" ? "" : high
		cpu = series(figure, v, CPU)
		p50 = series(figure, v, P50)
		print f[1], f[2], f[3], f[4], f[5], v, value, ratio, from, to, p50 == "" ? "" : median_of(p50), \
			cpu == "" ? "" : median_of(cpu)
		return
	}
	what = values == "" ? "" : number(median_of(values))
	if (failed[figure, v])
		what = what " (" failed[figure, v] " of " rounds " failed)"
	printf "| %s | %s | %s | %s | %s | %s %s | %s | %s | %s | %s | %s | %s | %s |\n", f[2], bytes(f[3]), f[4], f[5], v, \
		what, f[6], values == "" ? "" : number(low) ".." number(high), ratio_text(ratios), \
		v == "ours" ? ratio_text(series(figure, v, VALUE, "classic")) : "", \
		median_text(figure, v, P50), median_text(figure, v, P99), median_text(figure, v, CPU), \
		v == "plain" ? "" : ratio_text(series(figure, v, CPU, "plain"))
}

function median_text(figure, v, c,    list) {
	list = series(figure, v, c)
	return list == "" ? "" : number(median_of(list))
}
