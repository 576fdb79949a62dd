package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"perigee/purge"
)

// exitPartial says that what was asked for is under way, but not done everywhere.
const exitPartial = 4

const (
	// purgeTries is how often an order is sent that the node cannot take yet.
	purgeTries = 4
	// longestRetryAfter is how long the command waits for a node that asks it to.
	longestRetryAfter = time.Minute
	// orderPatience is how long a node may take beyond what --wait allows it.
	orderPatience = 45 * time.Second
	// mostAnswer is the longest answer to an order, in bytes.
	mostAnswer = 1 << 20
)

// purgeFlags are what `perigee purge` is told.
type purgeFlags struct {
	operator
	urls, prefixes, tags, hosts  []string
	site, file                   string
	all, ignoreQuery             bool
	soft, dryRun, asJSON, isFile bool
	wait                         time.Duration

	pause func(context.Context, time.Duration) error
	now   func() time.Time
}

func newPurge() *cobra.Command { return newPurgeWith(pause, now) }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newPurgeWith(pause func(context.Context, time.Duration) error, now func() time.Time) *cobra.Command {
	f := purgeFlags{pause: pause, now: now}
	cmd := &cobra.Command{
		Use:   "purge {--url U | --prefix P | --tag T | --host H | --all | --file F} [--site S]",
		Short: "Make a running node forget what it has stored",
		Long: `purge orders a running node to use what is named no more: URLs, all below a prefix,
what bears a tag, a host, or all of a site. Flags that name something may be given
more than once. What is named stands for the site of --site; absolute URLs,
prefixes with a host and hosts say it themselves, unless they go by an alias.

--soft keeps responses usable as stale, until the origin has been asked. --dry-run
purges nothing and counts what would be.

--file reads a list, one item a line: a URL or path, or tag:T, prefix:P, host:H.
Empty lines and those that begin with # do not count. The list is read whole before
anything is purged, and sent in orders of 500; if one fails, the first line that is not
done is told, to go on from there. Purging something twice does no harm.

Exit code 0 if the purge is complete, 4 if some node has not acknowledged it yet.`,
		Example: `  perigee purge --url https://www.example.com/news
  perigee purge --site www.example.com --url /news --tag item-1 --soft
  perigee purge --site www.example.com --prefix /static --dry-run
  perigee purge --site www.example.com --file - < urls.txt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("what is to be purged stands in flags: --url, --prefix, --tag or --host before %q?", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.isFile = cmd.Flags().Changed("file")
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.urls, "url", nil, "`URL`, or path of the site, with its query")
	flags.StringArrayVar(&f.prefixes, "prefix", nil, "`path`, or host and path: it and all below it")
	flags.StringArrayVar(&f.tags, "tag", nil, "`tag` that responses bear")
	flags.StringArrayVar(&f.hosts, "host", nil, "`host` of the site; *.example.com for those below")
	flags.BoolVar(&f.all, "all", false, "everything of the site")
	flags.StringVar(&f.file, "file", "", "`file` with a list of items, - for standard input")
	flags.StringVar(&f.site, "site", "", "`site`, by its name or one of its purge.ids")
	flags.BoolVar(&f.ignoreQuery, "ignore-query", false, "the URLs with any query; they stand there without one")
	flags.BoolVar(&f.soft, "soft", false, "leave it usable as stale")
	flags.BoolVar(&f.dryRun, "dry-run", false, "purge nothing, count what would be")
	flags.DurationVar(&f.wait, "wait", 0, "how long to wait for further nodes, at most 1m")
	f.purgeAccess(cmd)
	jsonFlag(cmd, &f.asJSON)
	cmd.AddCommand(newPurgeHistory(), newPurgeStatus())
	return cmd
}

// purgeAccess is flags for a door that sites' purge tokens open too.
func (o *operator) purgeAccess(cmd *cobra.Command) {
	o.flags(cmd)
	cmd.Flags().Lookup("token-file").Usage = "`file` with the admin token, or a purge token of the site"
}

func (f *purgeFlags) run(cmd *cobra.Command) error {
	if f.wait < 0 || f.wait > purge.MaxWait {
		return usage("--wait %s is not from 0s to %s", f.wait, purge.MaxWait)
	}
	items, err := f.items(cmd.InOrStdin())
	if err != nil {
		return err
	}
	// From here on whoever interrupts is told how far it came; before, reading standard
	// input could not be interrupted.
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &purgeJob{
		flags: f, batches: batchesOf(items),
		client:   &http.Client{Transport: &http.Transport{Proxy: nil}},
		progress: newProgress(cmd.ErrOrStderr(), len(items), f.now),
	}
	defer p.client.CloseIdleConnections()
	failure := p.carryOut(ctx)
	p.progress.end()
	return p.report(cmd.OutOrStdout(), failure)
}

// purgeJob is orders on their way, one after the other.
type purgeJob struct {
	flags    *purgeFlags
	client   *http.Client
	batches  []purgeBatch
	receipts []purgeReceipt // of the batches that were taken
	progress *progress
}

// purgeReceipt is what became of an order: the node's answer, with the site and the
// number of items that it was about.
type purgeReceipt struct {
	Site    string      `json:"site"`
	Items   int         `json:"items"`
	ID      string      `json:"id,omitempty"`
	State   string      `json:"state"`
	Edges   []purge.Ack `json:"edges,omitempty"`
	Missing []string    `json:"missing,omitempty"`
	Count   *int        `json:"count,omitempty"`
	AtLeast bool        `json:"at_least,omitempty"`
}

// carryOut sends the batches until one fails.
func (p *purgeJob) carryOut(ctx context.Context) error {
	for _, batch := range p.batches {
		receipt, err := p.order(ctx, batch)
		if err != nil && ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			return err
		}
		p.receipts = append(p.receipts, receipt)
		p.progress.done(len(batch.items))
	}
	return nil
}

// nodeAnswer is what the node answered.
type nodeAnswer struct {
	status     int
	retryAfter string
	body       []byte
}

// order sends one batch, again if the node asks for that. A batch has one idempotency
// key, so that a repetition is carried out once.
func (p *purgeJob) order(ctx context.Context, batch purgeBatch) (purgeReceipt, error) {
	body, err := p.flags.body(batch)
	if err != nil {
		return purgeReceipt{}, err
	}
	key := rand.Text()
	for try := 1; ; try++ {
		answer, err := p.send(ctx, batch.site, key, body)
		if err != nil {
			return purgeReceipt{}, err
		}
		wait, again := answer.retryIn(try)
		if !again || try == purgeTries {
			return p.outcome(batch, answer)
		}
		p.progress.note("the node answered %d (%s); again in %s", answer.status, answer.problem().Error, wait)
		if err := p.flags.pause(ctx, wait); err != nil {
			return purgeReceipt{}, err
		}
	}
}

// send sends an order once.
func (p *purgeJob) send(ctx context.Context, site, key string, body []byte) (nodeAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.flags.wait+orderPatience)
	defer cancel()
	r, err := p.flags.request(ctx, http.MethodPost, "/v1/sites/"+url.PathEscape(site)+"/purge", strings.NewReader(string(body)))
	if err != nil {
		return nodeAnswer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	resp, err := p.client.Do(r)
	if err != nil {
		return nodeAnswer{}, p.flags.unanswered(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return nodeAnswer{}, p.flags.unanswered(err)
	}
	return nodeAnswer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), body: text}, nil
}

// retryIn tells whether to send the order again, and when: as Retry-After says in
// seconds, without it after one second, twice that, and so on.
func (a *nodeAnswer) retryIn(try int) (wait time.Duration, again bool) {
	if a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests {
		return 0, false
	}
	if a.retryAfter == "" {
		return time.Second << (try - 1), true
	}
	seconds, err := strconv.ParseUint(a.retryAfter, 10, 31)
	wait = time.Duration(seconds) * time.Second
	return wait, err == nil && wait <= longestRetryAfter
}

// outcome reads the answer to an order.
func (p *purgeJob) outcome(batch purgeBatch, answer nodeAnswer) (purgeReceipt, error) {
	if answer.status != http.StatusOK && answer.status != http.StatusAccepted {
		return purgeReceipt{}, p.refused(batch, answer)
	}
	receipt := purgeReceipt{}
	if err := json.Unmarshal(answer.body, &receipt); err != nil {
		return receipt, fmt.Errorf("the node's answer is not one of this version: %w", err)
	}
	receipt.Site, receipt.Items = batch.site, len(batch.items)
	return receipt, nil
}

// nodeProblem is the JSON of an answer that is an error.
type nodeProblem struct {
	Error    string   `json:"error"`
	Problems []string `json:"problems"`
	Paths    []string `json:"paths"` // of the operator's listener, where it has no such path
}

func (a *nodeAnswer) problem() nodeProblem {
	var problem nodeProblem
	if json.Unmarshal(a.body, &problem) != nil || problem.Error == "" {
		problem = nodeProblem{Error: strings.TrimSpace(string(a.body))}
	}
	return problem
}

// newPurgeHistory is `perigee purge history`.
func newPurgeHistory() *cobra.Command {
	var o operator
	var site string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "history",
		Short:   "List the last purges, the newest first",
		Long:    "history tells who purged what, when and from where. A node remembers the last 10000 orders.",
		Example: "  perigee purge history --site www.example.com --limit 100",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usage("--limit %d is less than 1", limit)
			}
			records, err := askHistory(cmd.Context(), &o, site, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"purges": records})
			}
			return writeHistory(cmd.OutOrStdout(), records)
		},
	}
	cmd.Flags().StringVar(&site, "site", "", "`site` whose purges are shown; all that the token sees otherwise")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most so many")
	o.purgeAccess(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// historyPage is how many records are asked for at once.
const historyPage = 200

// askHistory asks the node for its history, page by page.
func askHistory(ctx context.Context, o *operator, site string, limit int) ([]purge.Record, error) {
	all, before := []purge.Record{}, ""
	for {
		params := url.Values{"limit": {strconv.Itoa(min(limit-len(all), historyPage))}}
		if site != "" {
			params.Set("site", site)
		}
		if before != "" {
			params.Set("before", before)
		}
		var page struct {
			Purges []purge.Record `json:"purges"`
			Next   string         `json:"next"`
		}
		if err := askPurges(ctx, o, "?"+params.Encode(), &page); err != nil {
			return nil, err
		}
		all, before = append(all, page.Purges...), page.Next
		if len(all) >= limit || before == "" || len(page.Purges) == 0 {
			return all, nil
		}
	}
}

// askPurges reads what is below /v1/purges into answer.
func askPurges(ctx context.Context, o *operator, below string, answer any) error {
	status, body, err := o.ask(ctx, http.MethodGet, "/v1/purges"+below, time.Minute)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return refusedBy(o, nodeAnswer{status: status, body: body})
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("the node's answer is not one of this version: %w", err)
	}
	return nil
}

// newPurgeStatus is `perigee purge status`.
func newPurgeStatus() *cobra.Command {
	var o operator
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status ID",
		Short:   "Tell what became of a purge",
		Long:    "status shows an order that a node remembers. Exit code 0 if it is complete, 4 if some node has not acknowledged it yet.",
		Example: "  perigee purge status 1f0c6b2d9a7e4f5380a1b2c3d4e5f607",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("status of which purge? `perigee purge history` lists their ids")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var record purge.Record
			if err := askPurges(cmd.Context(), &o, "/"+url.PathEscape(args[0]), &record); err != nil {
				return err
			}
			var err error
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), record)
			} else {
				err = writeStatus(cmd.OutOrStdout(), &record)
			}
			return errors.Join(err, incomplete(record.State))
		},
	}
	o.purgeAccess(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// incomplete is the exit code of a purge that is not complete, nil of one that is.
func incomplete(state string) error {
	if state == purge.StateComplete || state == purge.StateDryRun {
		return nil
	}
	return &exitCode{code: exitPartial, silent: true, err: errors.New("the purge is " + state)}
}
