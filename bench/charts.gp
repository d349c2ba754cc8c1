# SPDX-License-Identifier: GPL-2.0
#
# Draws performance-*.svg; run by bench.sh --charts, with `data` (lines of summary.awk
# with form=chart) and `dir` set.
#
# Columns: 1 group, 2 pattern, 3 size, 4 connections, 5 cores, 6 variant, 7 median,
# 8 ratio to plain TCP, 9 and 10 its middle half, 11 p50 us, 12 CPU us per operation

set datafile separator ","

# Colours that also the colour-blind tell apart.
set style line 1 lc rgb "#666666" lw 2 pt 7 ps 0.5
set style line 2 lc rgb "#0072b2" lw 3 pt 7 ps 0.6
set style line 3 lc rgb "#d55e00" lw 2 pt 7 ps 0.5
set style line 4 lc rgb "#009e73" lw 2 pt 7 ps 0.5
variants = "plain ours classic unix"
array title[4] = ["plain TCP", "ours", "classic pair", "unix socket"]

# The lines of one curve.
curve(group, cores, variant) = sprintf( \
	"< awk -F, '$1 == \"%s\" && $5 == %d && $6 == \"%s\"' '%s' | sort -t, -k3g", \
	group, cores, word(variants, variant), data)

# How many figures there are: a chart without any is left out.
figures(groups, cores) = int(system(sprintf( \
	"awk -F, '$1 ~ /^(%s)$/ && $5 ~ /^%s/ && $6 == \"plain\"' '%s' | wc -l", groups, cores, data)))

set border 3 lc rgb "#444444"
set tics nomirror out scale 0.5
set grid ytics lc rgb "#dddddd" lw 1 lt 1
set key off

# ---- by size ----

set logscale x 2
set logscale y
set xtics ("1 B" 1, "64 B" 64, "1 KiB" 1024, "16 KiB" 16384, "256 KiB" 262144, "4 MiB" 4194304) \
	rotate by -45
set ytics (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
set yrange [*:*] noextend
set bmargin 4.5

set terminal svg size 900,340 font "sans-serif,13" background "#ffffff"
set key top left reverse Left samplen 2

if (figures("rr", "1") > 0) {
	set output dir."/performance-latency.svg"
	set multiplot layout 1,3
	set xrange [0.8:1500000]
	set title "round trip, one core (us)"
	plot for [i = 1:4] curve("rr", 1, i) using 3:11 with linespoints ls i title title[i]
	if (figures("rr", "2") > 0) {
		set title "round trip, two cores (us)"
		plot for [i = 1:4] curve("rr", 2, i) using 3:11 with linespoints ls i notitle
		set title "CPU time of both ends, two cores (us)"
		plot for [i = 1:4] curve("rr", 2, i) using 3:12 with linespoints ls i notitle
	}
	unset multiplot
}

if (figures("stream", "1") > 0) {
	set output dir."/performance-stream.svg"
	set key bottom right noreverse Right
	set multiplot layout 1,2
	set xrange [50:5000000]
	set title "stream by size of writes, one core (MB/s)"
	plot for [i = 1:4] curve("stream", 1, i) using 3:7 with linespoints ls i title title[i]
	if (figures("stream", "2") > 0) {
		set title "stream by size of writes, two cores (MB/s)"
		plot for [i = 1:4] curve("stream", 2, i) using 3:7 with linespoints ls i notitle
	}
	unset multiplot
}

# ---- by number of connections ----

# The lines of one pattern of the group `growth`.
growth(pattern) = sprintf( \
	"< awk -F, '$1 == \"growth\" && $2 == \"%s\"' '%s' | sort -t, -k4g", pattern, data)

if (int(system(sprintf("awk -F, '$1 == \"growth\"' '%s' | wc -l", data))) > 0) {
	set output dir."/performance-growth.svg"
	set multiplot layout 1,2
	unset logscale
	set xrange [-1000:31000]
	set xtics ("0" 0, "10,000" 10000, "20,000" 20000, "30,000" 30000) norotate
	set ytics auto
	set yrange [0:*]
	set key center right noreverse Right
	set title "beside idle connections, per second"
	plot growth("rr") using 4:7 with linespoints ls 2 title "round trips of 64 B", \
		growth("crr") using 4:7 with linespoints ls 4 title "connections with one request"
	set key top left reverse Left
	set title "seconds"
	plot growth("unload.sh") using 4:7 with linespoints ls 3 title "unload.sh", \
		growth("status.sh") using 4:7 with linespoints ls 2 title "status.sh", \
		growth("status.sh --prometheus") using 4:7 with linespoints ls 1 title "status.sh --prometheus"
	unset multiplot
}

# ---- real programs ----

programs = "redis|pgbench|pgbouncer|jdbc|nginx|memcached|grpc|sockperf"
rows = figures(programs, "")
bars(variant) = sprintf( \
	"< awk -F, -v OFS=, '$1 ~ /^(%s)$/ { figure = $2 FS $3 FS $4; if (!(figure in row)) row[figure] = n++ } " \
	."$1 ~ /^(%s)$/ && $6 == \"%s\" { print row[figure], $8, $9, $10, " \
	."$2 ($3 >= 1024 ? \" \" $3 / 1024 \" KiB\" : \"\") \" x\" $4 }' '%s'", \
	programs, programs, word(variants, variant), data)

if (rows > 0) {
	set terminal svg size 900,110+52*rows font "sans-serif,13" background "#ffffff"
	set output dir."/performance-programs.svg"
	unset logscale
	set border 1 lc rgb "#444444"
	set bmargin 3
	set rmargin 12
	set grid noytics xtics
	set xrange [0:*<3]
	set yrange [rows-0.4:-0.6]
	set xtics auto norotate
	set ytics auto scale 0
	set title "operations per second, relative to plain TCP (name x connections)"
	set key at screen 0.99,0.5 right center samplen 1
	set style fill solid noborder
	set arrow from 1,graph 0 to 1,graph 1 nohead lc rgb "#666666" lw 2 front
	# y counts down: each figure has three bars around its row.
	top(i) = (i-3)*0.27-0.12
	plot for [i = 2:4] bars(i) using (0):($1+top(i)+0.12):(0):2:($1+top(i)):($1+top(i)+0.24) \
			with boxxyerror ls i title title[i], \
		bars(2) using (0):1:ytic(5) with points pt 0 notitle, \
		for [i = 2:4] bars(i) using 2:($1+top(i)+0.12):3:4 with xerrorbars lc rgb "#222222" pt 0 lw 1 notitle
}
