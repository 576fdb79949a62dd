package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"perigee/admin"
)

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Tell what a running node has stored, and check what is on disk",
		Example: `  perigee cache stats
  perigee cache verify --rate 200MiB`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no command %q of %s: stats, verify", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheStats(), newCacheVerify())
	return cmd
}

// newCacheStats is `perigee cache stats`.
func newCacheStats() *cobra.Command {
	var o operator
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Tell how full memory and disk are, and what became of what was stored",
		Long: `stats asks a running node what is stored in memory and on disk, in which folders,
what arrived, what left and why, and what was written for it. Counters begin at 0
with each start.`,
		Example: "  perigee cache stats\n  perigee cache stats --json --admin 10.0.0.7:9180 --token-file admin.token",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stats, err := askCacheStats(cmd.Context(), &o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), stats)
			}
			_, err = cmd.OutOrStdout().Write(cacheStatsText(stats))
			return err
		},
	}
	o.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// cacheStats is what a node says of its store; Disk is nil if it has none.
type cacheStats struct {
	Store *admin.StoreStats `json:"store"`
	Disk  *admin.DiskStats  `json:"disk"`
}

func askCacheStats(ctx context.Context, o *operator) (*cacheStats, error) {
	status, body, err := o.ask(ctx, http.MethodGet, "/v1/stats", time.Minute)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusedCache(o, nodeAnswer{status: status, body: body})
	}
	stats := new(cacheStats)
	if err := json.Unmarshal(body, stats); err != nil {
		return nil, fmt.Errorf("the node's answer is not one of this version: %w", err)
	}
	if stats.Store == nil {
		return nil, errors.New("the node's answer is not one of this version: it has no store")
	}
	return stats, nil
}

// verifyFlags are what `perigee cache verify` is told.
type verifyFlags struct {
	operator
	rate   string
	asJSON bool
}

// newCacheVerify is `perigee cache verify`.
func newCacheVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Have a running node read all that it has on disk, and drop what is damaged",
		Long: `verify has a running node compare everything on its disks with its checksums, and
drop what does not match. Serving goes on, and never needs it: what is served is
checked anyway. Interrupting the command ends the node's reading.

Exit code 0 if nothing was damaged, 4 if something was; it has been dropped then.`,
		Example: "  perigee cache verify\n  perigee cache verify --rate 200MiB --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.rate, "rate", fmt.Sprintf("%dMiB", admin.VerifyRate>>20), "read at most so much a second, a `size`; 0 = as fast as it goes")
	f.flags(cmd)
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command) error {
	if _, err := admin.ParseRate(f.rate); err != nil {
		return usage("--rate: %w", err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, body, err := f.ask(ctx, http.MethodPost, "/v1/cache/verify?"+url.Values{"rate": {f.rate}}.Encode(), 0)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; what was found damaged until then has been dropped and stands in the node's log")
	}
	if err != nil {
		return err
	}
	var v admin.Verification
	problem := json.Unmarshal(body, &v)
	switch {
	case status != http.StatusOK && (problem != nil || v.Segments == 0 && v.Records == 0):
		return refusedCache(&f.operator, nodeAnswer{status: status, body: body})
	case problem != nil:
		return fmt.Errorf("the node's answer is not one of this version: %w", problem)
	}
	return f.report(cmd.OutOrStdout(), &v)
}

// report prints what was found and returns the exit code.
func (f *verifyFlags) report(w io.Writer, v *admin.Verification) error {
	var err error
	if f.asJSON {
		err = printJSON(w, v)
	} else {
		_, err = w.Write(verificationText(v))
	}
	switch {
	case err != nil:
		return err
	case v.Error != "":
		return &exitCode{code: exitError, silent: f.asJSON, err: errors.New("not all was read: " + plain(v.Error))}
	case v.Damaged > 0:
		return &exitCode{code: exitPartial, silent: true, err: errors.New("something was damaged")}
	}
	return nil
}

// refusedCache puts a node's refusal into words.
func refusedCache(o *operator, answer nodeAnswer) error {
	if problem := answer.problem(); answer.status == http.StatusNotFound && problem.Paths != nil {
		return fmt.Errorf("the node at %s cannot verify: it is of an older version", o.addr)
	} else if answer.status == http.StatusNotFound || answer.status == http.StatusConflict {
		return fmt.Errorf("the node at %s: %s", o.addr, plain(problem.Error))
	}
	return refusedBy(o, answer)
}
