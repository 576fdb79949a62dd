package main

import (
	"fmt"
	"io"
)

// mean is what a policy did in several cells.
type mean struct {
	n, objects, bytes, amplification, worst, wear float64
}

func (m *mean) add(r result) {
	m.n++
	m.objects += r.objectRatio()
	m.bytes += r.byteRatio()
	m.amplification += r.amplification()
	m.wear += r.wear()
	m.worst = max(m.worst, r.amplification())
}

// printMeans prints a line for each policy: hit ratios at each capacity, what is
// written, and what a scan costs.
func printMeans(w io.Writer, all []policy, res results) {
	fmt.Fprintln(w, "| policy | 1 % | 5 % | 10 % | objects | bytes | drift | brief | mixed scan | bursts | amplification | worst | written/asked |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for i, p := range all {
		var (
			every mean
			at    = make([]mean, len(capacities))
			lost  [kinds]float64
			by    [kinds]mean
		)
		for c, row := range res {
			every.add(row[i])
			at[c.capacity].add(row[i])
			calm := res[cell{c.alpha, c.capacity, plain}][i]
			lost[c.kind] += calm.objectRatio() - row[i].objectRatio()
			by[c.kind].add(row[i])
		}
		fmt.Fprintf(w, "| %s |", p.name)
		for _, m := range at {
			fmt.Fprintf(w, " %.1f |", m.objects/m.n)
		}
		each := float64(len(alphas) * len(capacities))
		fmt.Fprintf(w, " %.1f | %.1f | %.1f | %.1f | %+.1f | %+.1f | %.2f | %.2f | %.2f |\n",
			every.objects/every.n, every.bytes/every.n, by[drift].objects/each, by[brief].objects/each, -lost[mixedScan]/each, -lost[burstScan]/each,
			every.amplification/every.n, every.worst, every.wear/every.n)
	}
}

// printDetail prints a table for each capacity: hit ratio of hot objects, of their
// bytes, and amplification.
func printDetail(w io.Writer, all []policy, res results) {
	for c, part := range capacities {
		fmt.Fprintf(w, "### Disk of %.0f %%\n\n| policy |", 100*part)
		for _, alpha := range alphas {
			for k := range kinds {
				fmt.Fprintf(w, " %.1f %s |", alpha, k)
			}
		}
		fmt.Fprintln(w, "\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
		for i, p := range all {
			fmt.Fprintf(w, "| %s |", p.name)
			for a := range alphas {
				for k := range kinds {
					r := res[cell{a, c, k}][i]
					fmt.Fprintf(w, " %.1f/%.1f/%.2f |", r.objectRatio(), r.byteRatio(), r.amplification())
				}
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
}
