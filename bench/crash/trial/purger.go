package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// maxRemembered is how many purged objects are asked for again at once when a new life
// has begun.
const maxRemembered = 24

// purger gives objects new versions and purges the old ones.
type purger struct {
	trial  *Trial
	http   *http.Client
	mu     sync.Mutex // guards random and recent
	random *rand.Rand
	recent []*object // whose purges were acknowledged last, the newest at the end
}

func newPurger(t *Trial) *purger {
	return &purger{
		trial: t, random: rand.New(rand.NewPCG(t.o.Seed, 1<<32)),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}, Timeout: patience},
	}
}

// run purges until ctx ends.
func (p *purger) run(ctx context.Context) {
	defer p.http.CloseIdleConnections()
	for ctx.Err() == nil {
		p.purge(ctx)
		p.renew()
		pause(ctx, time.Duration(p.below(100))*time.Millisecond)
	}
}

func (p *purger) below(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}

// renew gives an object that is validated each second a new version without a purge.
func (p *purger) renew() {
	o := p.trial.objects[p.below(len(p.trial.objects))/10*10+7]
	o.bump()
}

// purge gives some objects new versions, purges them by URL or by tag, and forbids the
// old versions once that is acknowledged.
func (p *purger) purge(ctx context.Context) {
	o := p.trial.objects[min(p.below(len(p.trial.objects)), p.below(len(p.trial.objects)))]
	order, struck := map[string]any{"urls": []string{o.path()}, "wait": "5s"}, []*object{o}
	if p.below(8) == 0 {
		order, struck = map[string]any{"tags": []string{o.tag()}, "wait": "5s"}, p.trial.group(o.tag())
	}
	least := make([]int64, len(struck))
	for i, each := range struck {
		least[i] = each.bump()
	}
	process, t := p.trial.current(), &p.trial.tally
	answered := process.answered.Load()
	state, err := p.send(ctx, order)
	switch {
	case err == nil && state == "complete":
		t.purges.Add(1)
		for i, each := range struck {
			each.raise(least[i])
		}
		p.remember(struck)
	case err == nil:
		t.refusedPurges.Add(1)
		if answered && !p.trial.o.Refuses {
			t.fault("life %d: purge of %v: %s", p.trial.life.Load(), order, state)
		}
	case ctx.Err() != nil || !answered || process.doomed.Load() || process.ends(ctx):
		t.purgesInTheAir.Add(1)
	default:
		t.fault("life %d: purge of %v: %v", p.trial.life.Load(), order, err)
	}
}

// send returns the state that a purge is answered with, or what it is refused with.
func (p *purger) send(ctx context.Context, order map[string]any) (state string, err error) {
	body, err := json.Marshal(order)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.trial.admin+"/v1/sites/*/purge", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct{ State, Error string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("status %d: %s", resp.StatusCode, answer.Error), nil
	}
	return answer.State, nil
}

func (p *purger) remember(struck []*object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent = append(p.recent, struck...)
	if over := len(p.recent) - maxRemembered; over > 0 {
		p.recent = append([]*object(nil), p.recent[over:]...)
	}
}

// last are the objects that were purged last.
func (p *purger) last() []*object {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*object(nil), p.recent...)
}
