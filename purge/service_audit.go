package purge

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// refusalRate is how many refused tokens are logged in a second, after a burst;
	// the next line says how many were not.
	refusalRate  = 10
	refusalBurst = 100
)

// audit writes one line for each order and each refused token.
type audit struct {
	log    *slog.Logger
	bucket *bucket

	mu     sync.Mutex // guards what follows
	silent int        // refusals since the last line
}

func newAudit(log *slog.Logger) *audit {
	return &audit{log: log, bucket: newBucket(refusalRate, refusalBurst)}
}

// refused takes down a request whose token was not good enough.
func (a *audit) refused(now time.Time, from netip.Addr, caller Caller, site string, refusal *Refusal) {
	if _, ok := a.bucket.take(1, now); !ok {
		a.mu.Lock()
		a.silent++
		a.mu.Unlock()
		return
	}
	a.mu.Lock()
	silent := a.silent
	a.silent = 0
	a.mu.Unlock()
	a.log.LogAttrs(
		context.Background(), slog.LevelWarn, "purge token refused", slog.String("who", caller.Name), slog.String("from", addrText(from)),
		slog.String("site", site), slog.Int("status", refusal.Status), slog.String("reason", refusal.Reason), slog.Int("not_logged", silent),
	)
}

// ordered takes down an order and what came of it.
func (a *audit) ordered(now time.Time, caller Caller, o *Order, receipt Receipt, refusal *Refusal) {
	if refusal != nil && (refusal.Status == http.StatusForbidden || refusal.Status == http.StatusTooManyRequests) {
		from, _ := netip.ParseAddr(o.From)
		a.refused(now, from, caller, o.Site, refusal)
		return
	}
	level, result := slog.LevelInfo, receipt.State
	attrs := []slog.Attr{
		slog.String("who", o.Who), slog.String("from", o.From), slog.String("site", o.Site),
		slog.Group(
			"items", slog.Int("urls", o.urls()), slog.Int("prefixes", len(o.Prefixes)), slog.Int("tags", len(o.Tags)),
			slog.Int("hosts", len(o.Hosts)), slog.Bool("everything", o.Everything),
		),
		slog.Bool("soft", o.Soft), slog.String("id", receipt.ID),
	}
	if refusal != nil {
		level, result = slog.LevelWarn, "refused"
		attrs = append(attrs, slog.Int("status", refusal.Status), slog.String("reason", refusal.Reason))
	}
	a.log.LogAttrs(context.Background(), level, "purge", append(attrs, slog.String("result", result))...)
}

func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}
