package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what perigee is put through. The zero value of a field that no comment
// speaks of means none.
type Options struct {
	Binary string   // perigee
	Env    []string // "NAME=value", for it
	Folder string   // for --disk; it may be one that cannot be used
	Size   int64    // for --disk-size, whole KiB in bytes; the folder is never seen to take more
	RAM    int64    // for --ram, likewise

	Clients     int
	Objects     int   // how many URLs there are
	Least, Most int64 // bytes of the smallest and of the largest
	Seed        uint64

	Kills    int           // how often it is killed; a life more is ended by SIGTERM
	Life     time.Duration // it is killed after a tenth of this at least
	Purge    bool          // purges while it runs, and just before some of the kills
	Refuses  bool          // purges may be refused, because they cannot be written down
	Damage   bool          // files are damaged between lives
	Live     bool          // files are damaged while it runs
	Trouble  string        // a command that breaks the disk in the middle of every other life
	Relief   string        // a command that mends it after that life
	Flood    bool          // every object is asked for in turn, until the origin has sent five times Size
	FirstHit time.Duration // from the start of the process to the first hit from disk; 0 = it is only told
	NoHits   bool          // the folder keeps nothing: no hit need come from disk
	Memory   int64         // bytes of resident memory at most; 0 = it is only told
	MustLog  string        // a regular expression that must match what one life at least has logged; "" = none

	Out     io.Writer // for the report
	Logs    string    // a folder for what each life has logged; "" = nowhere
	Verbose bool      // with a line for each life
}

// sweptBytes is how long an object may be that is asked for whole after a start, where
// nothing else waits for its turn.
const sweptBytes = 4 << 20

// floods is how many times the size of the folder the origin sends in a flood.
const floods = 5

// Trial is one run.
type Trial struct {
	o          Options
	url, admin string
	objects    []*object
	origin     *origin
	purger     *purger
	tally      tally
	random     *rand.Rand // of the goroutine that kills

	life    atomic.Int64
	process atomic.Pointer[process]
	next    atomic.Int64 // of a flood
	peak    struct{ disk, memory atomic.Int64 }

	firstHits []time.Duration
	messages  map[string]int // what was logged as a warning or an error
	logged    bool           // MustLog has matched
}

// Run puts perigee through what o says. The error says what was not as it must be.
func Run(ctx context.Context, o Options) error {
	t := &Trial{o: o, objects: catalogue(o.Objects, o.Least, o.Most), random: rand.New(rand.NewPCG(o.Seed, 0)), messages: make(map[string]int)}
	t.purger = newPurger(t)
	var err error
	if t.origin, err = startOrigin(t.objects, &t.life); err != nil {
		return err
	}
	defer t.origin.close()
	if t.url, t.admin, err = freeAddresses(); err != nil {
		return err
	}
	err = t.run(ctx)
	t.report()
	if n := t.tally.count(); n > 0 && err == nil {
		err = fmt.Errorf("%d faults", n)
	}
	return err
}

// freeAddresses are two of loopback that nobody listens at, as URLs. They stay the same
// from life to life.
func freeAddresses() (a, b string, err error) {
	var found []string
	for range 100 {
		// Below those that the system gives to clients.
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		found = append(found, "http://"+l.Addr().String())
		if err := l.Close(); err != nil {
			return "", "", err
		}
		if len(found) == 2 && found[0] != found[1] {
			return found[0], found[1], nil
		}
	}
	return "", "", errors.New("no free port")
}

func (t *Trial) current() *process { return t.process.Load() }

// group are the objects that bear a tag.
func (t *Trial) group(tag string) (all []*object) {
	for _, o := range t.objects {
		if o.tag() == tag {
			all = append(all, o)
		}
	}
	return all
}

// choose is the object of a request: the first ones most often, in a flood each in turn
// and between them old ones. In a flood, first tells that it is its turn.
func (t *Trial) choose(r *rand.Rand) (o *object, first bool) {
	if !t.o.Flood {
		u := r.Float64()
		return t.objects[int(float64(len(t.objects))*u*u)], false
	}
	if n := t.next.Load(); r.IntN(3) == 0 && n > 0 {
		return t.objects[r.Int64N(min(n, int64(len(t.objects))))], false
	}
	return t.objects[(t.next.Add(1)-1)%int64(len(t.objects))], true
}

// run lives all lives.
func (t *Trial) run(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	work, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range t.o.Clients {
		all.Go(func() { newClient(t, i).run(work) })
	}
	if t.o.Purge {
		all.Go(func() { t.purger.run(work) })
	}
	all.Go(func() { t.watch(work) })
	err := t.lives(ctx)
	end()
	all.Wait()
	t.noteStats(ctx)
	last := t.current()
	if err != nil || !last.alive() {
		last.kill()
		return errors.Join(err, t.read(last))
	}
	if err = last.stop(); err != nil {
		t.tally.fault("the last life: %v", err)
	}
	return t.read(last)
}

// lives waits and kills, until it is time to end.
func (t *Trial) lives(ctx context.Context) error {
	for n := range t.o.Kills {
		if err := t.live(ctx, n); err != nil {
			return err
		}
		p := t.current()
		t.noteStats(ctx)
		p.kill()
		if err := t.read(p); err != nil {
			return err
		}
		t.between(ctx, n)
		if err := t.begin(ctx); err != nil {
			return err
		}
	}
	err := t.live(ctx, t.o.Kills)
	for t.o.Flood && err == nil && (t.next.Load() < int64(len(t.objects)) || t.origin.bytes.Load() < floods*t.o.Size) {
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return err
}

// live is what happens in a life until it ends.
func (t *Trial) live(ctx context.Context, n int) error {
	if err := t.awaken(ctx); err != nil {
		return err
	}
	t.sweep(ctx, t.purger.last())
	rest := t.o.Life/10 + time.Duration(t.random.Int64N(int64(t.o.Life)*9/10))
	if t.o.Trouble != "" && n%2 == 1 {
		pause(ctx, rest/2)
		t.command(ctx, t.o.Trouble)
	}
	if t.o.Live {
		pause(ctx, rest/2)
		t.say("life %d: while it runs: %s", t.life.Load(), strings.Join(damage(t.random, t.o.Folder, 2), ", "))
	}
	pause(ctx, rest)
	if t.o.Purge && n%3 == 0 {
		t.purger.purge(ctx) // the kill comes right after the acknowledgement
	}
	return context.Cause(ctx)
}

// noteStats adds what the process counts to what it has logged, if that is kept.
func (t *Trial) noteStats(ctx context.Context) {
	if t.o.Logs == "" {
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.admin+"/v1/stats", nil)
	if err != nil {
		return
	}
	resp, err := t.purger.http.Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(&t.current().log, io.LimitReader(resp.Body, 1<<16)) // for whoever reads the log
}

// between is what happens to the files while nobody uses them.
func (t *Trial) between(ctx context.Context, n int) {
	if t.o.Relief != "" && n%2 == 1 {
		t.command(ctx, t.o.Relief)
	}
	if t.o.Damage && n%2 == 1 {
		did := damage(t.random, t.o.Folder, 1+t.random.IntN(4))
		if t.random.IntN(4) == 0 {
			did = append(did, damageName(t.random, t.o.Folder))
		}
		t.say("after life %d: %s", t.life.Load(), strings.Join(did, ", "))
	}
}

func (t *Trial) command(ctx context.Context, text string) {
	if out, err := exec.CommandContext(ctx, "sh", "-c", text).CombinedOutput(); err != nil {
		t.tally.fault("%s: %v: %s", text, err, out)
	}
}

// begin starts the next life.
func (t *Trial) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	args := []string{
		"proxy", "--to", t.origin.url, "--listen", strings.TrimPrefix(t.url, "http://"), "--admin", strings.TrimPrefix(t.admin, "http://"),
		"--ram", kib(t.o.RAM), "--disk", t.o.Folder, "--disk-size", kib(t.o.Size),
	}
	p, err := launch(t.life.Add(1), t.o.Binary, args, t.o.Env)
	if err == nil {
		t.process.Store(p)
	}
	return err
}

// awaken waits until the process answers.
func (t *Trial) awaken(ctx context.Context) error {
	p := t.current()
	for over := time.Now().Add(patience); !p.answered.Load(); pause(ctx, soon) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !p.alive() || time.Now().After(over) {
			return fmt.Errorf("life %d does not serve:\n%s", t.life.Load(), p.log.end())
		}
	}
	return nil
}

// sweep asks for all variants of the objects, for the head only of those that are long.
func (t *Trial) sweep(ctx context.Context, objects []*object) {
	c := newClient(t, 0)
	defer c.http.CloseIdleConnections()
	for _, o := range objects {
		for _, each := range variants {
			a := &ask{object: o, variant: o.variantOf(each), method: http.MethodGet, from: -1, to: -1}
			if o.base > sweptBytes {
				a.method = http.MethodHead
			}
			c.visit(ctx, a)
			if o.kind != varied {
				break
			}
		}
	}
}

// watch samples what the folder and the process take.
func (t *Trial) watch(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		n := used(t.o.Folder)
		t.peak.disk.Store(max(t.peak.disk.Load(), n))
		if n > t.o.Size {
			t.tally.fault("life %d: the folder takes %d bytes, %d more than --disk-size", t.life.Load(), n, n-t.o.Size)
		}
		p := t.current()
		_, most, err := p.resident()
		if err == nil {
			t.peak.memory.Store(max(t.peak.memory.Load(), most))
		}
		if !p.alive() && !p.doomed.Load() {
			t.tally.fault("life %d has ended by itself, %v:\n%s", t.life.Load(), p.cmd.ProcessState, p.log.end())
			return
		}
	}
}

var (
	message  = regexp.MustCompile(`msg=("[^"]*"|\S+)`)
	disaster = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE)`)
)

// read looks at what a life that has ended leaves to be said.
func (t *Trial) read(p *process) error {
	life, text := t.life.Load(), p.log.String()
	for _, line := range p.log.troubles() {
		what := message.FindString(line)
		if t.messages[what]++; t.messages[what] == 1 {
			t.say("%s", line)
		}
	}
	if disaster.MatchString(text) {
		t.tally.fault("life %d:\n%s", life, p.log.end())
	}
	if t.o.Logs != "" {
		if err := os.WriteFile(filepath.Join(t.o.Logs, fmt.Sprintf("life-%d.log", life)), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if t.o.MustLog != "" && !t.logged {
		t.logged = regexp.MustCompile(t.o.MustLog).MatchString(text)
	}
	hit := time.Duration(p.firstHit.Load())
	t.say("life %d: first hit from disk after %v, %d hits from disk so far; ended at %v; %d lines of trouble",
		life, hit.Round(time.Millisecond), t.tally.diskHits.Load(), time.Since(p.began).Round(time.Millisecond), len(p.log.troubles()))
	if life > 1 && hit > 0 {
		t.firstHits = append(t.firstHits, hit)
	}
	if life > 1 && t.o.FirstHit > 0 && (hit == 0 || hit > t.o.FirstHit) && !t.o.NoHits {
		t.tally.fault("life %d: first hit from disk after %v, %v is the bound (0s: none)", life, hit, t.o.FirstHit)
	}
	return nil
}

func (t *Trial) say(format string, args ...any) {
	if t.o.Verbose {
		fmt.Fprintf(t.o.Out, format+"\n", args...)
	}
}

func (t *Trial) report() {
	const mib = 1 << 20
	if !t.o.NoHits && t.o.Kills > 0 && t.tally.diskHits.Load() == 0 {
		t.tally.fault("no hit has come from disk: nothing was shown")
	}
	if t.o.MustLog != "" && !t.logged {
		t.tally.fault("no life has logged %q", t.o.MustLog)
	}
	if most := t.peak.memory.Load(); t.o.Memory > 0 && most > t.o.Memory {
		t.tally.fault("%.1f MiB resident, %.1f MiB are the bound", float64(most)/mib, float64(t.o.Memory)/mib)
	}
	fmt.Fprintf(t.o.Out, "%d kills, %d clients, %d objects of %d to %d bytes; the origin has sent %.1f MB in %d responses\n",
		t.o.Kills, t.o.Clients, len(t.objects), t.o.Least, t.o.Most, float64(t.origin.bytes.Load())/1e6, t.origin.requests.Load())
	if n := len(t.firstHits); n > 0 {
		slices.Sort(t.firstHits)
		fmt.Fprintf(t.o.Out, "from the start of the process to the first hit from disk, under load: median %v, at most %v (%d lives)\n",
			t.firstHits[n/2].Round(time.Millisecond), t.firstHits[n-1].Round(time.Millisecond), n)
	}
	fmt.Fprintf(t.o.Out, "folder: at most %.1f MiB of %.1f MiB; memory: VmHWM at most %.1f MiB with a budget of %.1f MiB\n",
		float64(t.peak.disk.Load())/mib, float64(t.o.Size)/mib, float64(t.peak.memory.Load())/mib, float64(t.o.RAM)/mib)
	for text, n := range t.messages {
		fmt.Fprintf(t.o.Out, "logged %d times: %s\n", n, text)
	}
	t.tally.report(t.o.Out)
}

// kib is a size as perigee's flags take it.
func kib(bytes int64) string { return strconv.FormatInt(bytes>>10, 10) + "KiB" }
