package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"perigee/purge"
)

// refused says why the node did not take an order.
func (p *purgeJob) refused(batch purgeBatch, answer nodeAnswer) error {
	err := refusedBy(&p.flags.operator, answer)
	problem := answer.problem()
	if answer.status == http.StatusNotFound && problem.Paths == nil || answer.status == http.StatusForbidden {
		if p.flags.site == "" {
			err = fmt.Errorf("%w (no --site was given, so %s was taken for it; where that is an alias, or the node serves any host as the site \"*\", say --site)",
				err, batch.site)
		}
	}
	var lines []string
	for _, each := range problem.Problems {
		at, what, _ := strings.Cut(each, ": ")
		if item, found := batch.locate(at); found {
			each = fmt.Sprintf("%s, %s: %s", item.at(), clipped(item.value), what)
		}
		lines = append(lines, each)
	}
	if lines == nil {
		return err
	}
	return &refusedOrder{err: err, problems: lines}
}

// refusedOrder is an order that was refused for what is wrong with its items.
type refusedOrder struct {
	err      error
	problems []string
}

func (r *refusedOrder) Error() string {
	return r.err.Error() + "\n  " + strings.Join(r.problems, "\n  ")
}

// refusedBy puts a node's refusal into words.
func refusedBy(o *operator, answer nodeAnswer) error {
	problem := answer.problem()
	switch {
	case answer.status == http.StatusUnauthorized && o.tokenFile == "":
		return fmt.Errorf("the node at %s wants a token: --token-file F", o.addr)
	case answer.status == http.StatusUnauthorized:
		return fmt.Errorf("the node at %s does not take the token of %s: %s", o.addr, o.tokenFile, problem.Error)
	case answer.status == http.StatusNotFound && problem.Paths != nil:
		return fmt.Errorf("the node at %s cannot purge: it is of an older version", o.addr)
	}
	return fmt.Errorf("the node answered %d: %s", answer.status, problem.Error)
}

// clipped is what somebody wrote, short and safe to print.
func clipped(text string) string {
	const most = 80
	if quoted := strconv.Quote(text); len(text) <= most {
		return quoted
	}
	return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
}

// report prints what became of the orders, and returns the exit code.
func (p *purgeJob) report(w io.Writer, failure error) error {
	line := 0
	if failure != nil {
		line = firstLine(p.batches[len(p.receipts):])
	}
	if p.flags.asJSON {
		return p.reportJSON(w, failure, line)
	}
	if len(p.receipts) > 0 {
		fmt.Fprintln(w, p.sentence())
	}
	if failure == nil {
		return incomplete(p.state())
	}
	if line > 0 {
		note := fmt.Sprintf("line %d is the first that is not done", line)
		if line > 1 {
			note += fmt.Sprintf("; the rest is what `tail -n +%d` gives", line)
		}
		failure = fmt.Errorf("%w\n%s", failure, note)
	}
	return failure
}

// purgeReport is the JSON of what became of the orders.
type purgeReport struct {
	State   string         `json:"state"` // of the order that is furthest from complete
	Count   *int           `json:"count,omitempty"`
	AtLeast *bool          `json:"at_least,omitempty"`
	Items   int            `json:"items"` // of the orders that were taken
	Orders  []purgeReceipt `json:"orders"`

	Error        string   `json:"error,omitempty"`
	Problems     []string `json:"problems,omitempty"`
	FirstNotDone int      `json:"first_line_not_done,omitempty"`
}

func (p *purgeJob) reportJSON(w io.Writer, failure error, line int) error {
	r := purgeReport{State: p.state(), Items: p.items(), Orders: append([]purgeReceipt{}, p.receipts...), FirstNotDone: line}
	if p.flags.dryRun {
		n, atLeast := p.count()
		r.Count, r.AtLeast = &n, &atLeast
	}
	if failure == nil {
		return errors.Join(printJSON(w, r), incomplete(r.State))
	}
	r.State, r.Error = "failed", failure.Error()
	var refused *refusedOrder
	if errors.As(failure, &refused) {
		r.Error, r.Problems = refused.err.Error(), refused.problems
	}
	if err := printJSON(w, r); err != nil {
		return err
	}
	return &exitCode{code: exitError, silent: true, err: failure}
}

// state is that of the order that is furthest from complete.
func (p *purgeJob) state() string {
	worst := purge.StateComplete
	if p.flags.dryRun {
		worst = purge.StateDryRun
	}
	for _, each := range p.receipts {
		if each.State == purge.StatePending || each.State != purge.StateComplete && worst != purge.StatePending {
			worst = each.State
		}
	}
	return worst
}

func (p *purgeJob) items() (n int) {
	for _, each := range p.receipts {
		n += each.Items
	}
	return n
}

// count sums up what dry runs counted.
func (p *purgeJob) count() (n int, atLeast bool) {
	for _, each := range p.receipts {
		if each.Count != nil {
			n += *each.Count
		}
		atLeast = atLeast || each.AtLeast
	}
	return n, atLeast
}

// sentence says what became of the orders that were taken.
func (p *purgeJob) sentence() string {
	if p.flags.dryRun {
		return p.counted()
	}
	verb := "purged"
	if p.flags.soft {
		verb = "soft-purged"
	}
	first := p.receipts[0]
	sites := make(map[string]bool)
	for _, each := range p.receipts {
		sites[each.Site] = true
	}
	of := first.Site
	if len(sites) > 1 {
		of = fmt.Sprintf("%d sites", len(sites))
	}
	if len(p.receipts) > 1 {
		return fmt.Sprintf("%s %s of %s in %d orders: %s", verb, counting(p.items(), "item"), of, len(p.receipts), p.states())
	}
	return fmt.Sprintf("%s %s of %s: %s\nid %s", verb, p.batches[0].what(), of, first.acknowledged(), first.ID)
}

// states counts the orders' states.
func (p *purgeJob) states() string {
	numbers := make(map[string]int)
	for _, each := range p.receipts {
		numbers[each.State]++
	}
	var parts []string
	for _, state := range []string{purge.StateComplete, purge.StatePartial, purge.StatePending} {
		switch n := numbers[state]; {
		case n == len(p.receipts):
			return state
		case n > 0:
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

// counted says what a dry run found.
func (p *purgeJob) counted() string {
	n, atLeast := p.count()
	text := counting(n, "stored response") + " would be purged"
	if atLeast {
		text = "at least " + text + ": counting stopped before its end"
	}
	if len(p.receipts) > 1 {
		text += fmt.Sprintf("; of %d orders, each counts its own", len(p.receipts))
	}
	return text
}

// acknowledged says how far an order has come.
func (r *purgeReceipt) acknowledged() string {
	text := r.State
	for i, edge := range r.Edges {
		text += ", "
		if i == 0 {
			text = r.State + " on "
		}
		if edge.Name == "" {
			edge.Name = "this node"
		}
		text += plain(edge.Name)
		if edge.AckedMS != nil {
			text += fmt.Sprintf(" after %d ms", *edge.AckedMS)
		}
	}
	if len(r.Missing) > 0 {
		text += "; not yet on " + plain(strings.Join(r.Missing, ", "))
	}
	return text
}

// what says in a few words what a batch names.
func (b *purgeBatch) what() string {
	numbers := make(map[itemKind]int)
	for _, item := range b.items {
		numbers[item.kind]++
	}
	if numbers[itemAll] > 0 {
		return "everything"
	}
	var parts []string
	for _, each := range []struct {
		kind itemKind
		word string
	}{{itemURL, "URL"}, {itemPrefix, "prefix"}, {itemTag, "tag"}, {itemHost, "host"}} {
		if n := numbers[each.kind]; n > 0 {
			parts = append(parts, counting(n, each.word))
		}
	}
	return strings.Join(parts, ", ")
}

// counting is a number with its noun.
func counting(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "x"):
		noun += "es"
	default:
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// plain is text of a node's answer, quoted where a terminal could take it for more
// than text.
func plain(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// writeHistory prints records as a table.
func writeHistory(w io.Writer, records []purge.Record) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "no purges are remembered")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHEN\tSITE\tWHO\tFROM\tSTATE\tID\tWHAT")
	for i := range records {
		r := &records[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.UTC().Format(time.RFC3339), orAll(r.Site), plain(r.Who), plain(r.From), plain(r.State), plain(r.ID), recorded(r))
	}
	return table.Flush()
}

func orAll(site string) string {
	if site == "" {
		return "(all)"
	}
	return plain(site)
}

// recorded says what a record is about.
func recorded(r *purge.Record) string {
	var parts []string
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(r.Items)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Items[kind], plain(kind)))
		total += r.Items[kind]
	}
	text := strings.Join(parts, ", ")
	if r.Soft {
		text = "soft " + text
	}
	var values []string
	for _, each := range r.Values {
		values = append(values, plain(each))
	}
	if len(values) == 0 {
		return text
	}
	text += ": " + strings.Join(values, " ")
	if total > len(values) {
		text += " …"
	}
	return text
}

// writeStatus prints one record.
func writeStatus(w io.Writer, r *purge.Record) error {
	receipt := purgeReceipt{State: r.State, Edges: r.Edges, Missing: r.Missing}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"id", plain(r.ID)},
		{"state", receipt.acknowledged()},
		{"site", orAll(r.Site)},
		{"what", recorded(r)},
		{"who", plain(r.Who)},
		{"from", plain(r.From)},
		{"when", r.At.UTC().Format(time.RFC3339Nano)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// progressEvery is how often progress is told to what is not a terminal.
const progressEvery = 5 * time.Second

// progress tells how far a list has come: on a terminal with each order, elsewhere
// now and then.
type progress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	sum, total int
	told       time.Time // when something was last told
	open       bool      // the terminal's line is to be ended
}

func newProgress(w io.Writer, total int, now func() time.Time) *progress {
	p := &progress{w: w, total: total, now: now, told: now()}
	if file, ok := w.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// done counts items that are done.
func (p *progress) done(items int) {
	p.sum += items
	switch at := p.now(); {
	case p.total <= purge.MaxItems:
	case p.terminal:
		fmt.Fprintf(p.w, "\r%d of %d items", p.sum, p.total)
		p.open = true
	case at.Sub(p.told) >= progressEvery:
		fmt.Fprintf(p.w, "perigee: %d of %d items\n", p.sum, p.total)
		p.told = at
	}
}

// note tells why it takes longer.
func (p *progress) note(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.w, "perigee: "+format+"\n", args...)
}

// end ends the line that is open.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
