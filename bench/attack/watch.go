package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	sampleEvery = 50 * time.Millisecond
	mib         = 1 << 20
	tick        = 10 * time.Millisecond // of /proc/PID/stat on Linux, on all that Go runs on
	// longestWatch bounds an attacker as a process: its own bound and what it needs to end.
	longestWatch = longest + 5*time.Second
	enough       = 0.99 // of the normal requests in time
)

// usage is what a process has taken: memory resident now, processor time so far.
type usage struct {
	resident int64
	cpu      time.Duration
}

// usageOf reads /proc.
func usageOf(pid int) (usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	return parseStat(string(b))
}

// parseStat reads proc(5)'s stat: behind the name in brackets, user and system time
// are the 12th and 13th, resident pages the 22nd.
func parseStat(stat string) (usage, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return usage{}, fmt.Errorf("stat %q: too short", stat)
	}
	var n [3]int64
	for i, at := range [3]int{11, 12, 21} {
		v, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("stat %q: %w", stat, err)
		}
		n[i] = v
	}
	if fields[0] == "Z" || n[2] == 0 {
		return usage{}, errors.New("the process has no memory any more: it ended")
	}
	return usage{n[2] * int64(os.Getpagesize()), time.Duration(n[0]+n[1]) * tick}, nil
}

// watched is what became of the server during an attack.
type watched struct {
	before, end usage
	peak        int64
	err         error
}

// follow samples pid until ctx ends.
func follow(ctx context.Context, pid int) watched {
	var w watched
	w.before, w.err = usageOf(pid)
	w.peak = w.before.resident
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for over := false; w.err == nil && !over; {
		select {
		case <-t.C:
		case <-ctx.Done():
			over = true
		}
		w.end, w.err = usageOf(pid)
		w.peak = max(w.peak, w.end.resident)
	}
	return w
}

// watch runs an attacker, asks normally meanwhile, and prints a row of a table. Its
// error says that too few normal requests were answered in time, or that the server
// is gone.
func watch(_ string, args []string) error {
	f := flag.NewFlagSet("watch", flag.ExitOnError)
	name := f.String("name", "", "what the row is called")
	clear := f.String("http", "", "`address` of perigee in clear")
	secure := f.String("https", "", "`address` of perigee with TLS")
	pid := f.Int("pid", 0, "process of perigee")
	rate := f.Int("rate", 50, "normal requests in a second")
	log := f.String("log", os.DevNull, "`file` for what the attacker says")
	f.Parse(args)
	for _, addr := range []string{*clear, *secure} {
		if err := onlyLoopback(addr); err != nil {
			return err
		}
	}
	if f.NArg() == 0 || *rate < 1 || *rate > 1000 {
		return errors.New("a command behind --, and a rate from 1 to 1000")
	}
	c := newNormal(*clear, *secure)
	if err := warm(c, *clear); err != nil {
		return fmt.Errorf("before the attack: %w", err)
	}
	ctx, end := context.WithTimeout(context.Background(), longestWatch)
	defer end()
	var all sync.WaitGroup
	var w watched
	all.Go(func() { w = follow(ctx, *pid) })
	all.Go(func() { c.run(ctx, *rate) })
	said, failed := attacker(ctx, *log, f.Args())
	end()
	all.Wait()
	j := judge(c.done)
	fmt.Println(row(*name, said, j, w))
	if j.share() < enough && failed == nil {
		failed = fmt.Errorf("%s: %.2f %% of the normal requests were answered within %v, late by kind: %v; first error: %s",
			*name, 100*j.share(), inTime, j.Late, j.Error)
	}
	return errors.Join(failed, w.err)
}

// warm has perigee keep what will be asked for, and opens the kept connections.
func warm(c *normal, clear string) error {
	ctx := context.Background()
	for range 3 {
		for _, k := range c.kinds {
			if err := fetch(ctx, k.client, strings.TrimSuffix(k.url, "&n=")); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
		if err := fetch(ctx, c.kinds[0].client, "http://"+clear+bigObject); err != nil {
			return err
		}
	}
	return nil
}

// attacker runs a command until it ends, or ctx does. Nothing that it starts stays.
// What it prints is its tally, if it is one of ours.
func attacker(ctx context.Context, log string, command []string) (*report, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &said, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	_, _ = out.WriteString(said.String())
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s did not end in %v", command[0], longestWatch)
	}
	r := new(report)
	if json.Unmarshal([]byte(said.String()), r) != nil {
		return nil, err // somebody else's program
	}
	return r, err
}

// row is a line of the table whose head bench/attack/run prints.
func row(name string, r *report, j judgement, w watched) string {
	did, cut := "–", "–"
	if r != nil {
		did = fmt.Sprint(r.Sent)
		cut = fmt.Sprintf("%d of %d", r.Cut, r.Opened)
		for code, n := range r.Goaway {
			cut += fmt.Sprintf(", %s %d", code, n)
		}
		if r.Resets > 0 {
			cut += fmt.Sprintf(", %d streams reset", r.Resets)
		}
		if r.Failed > 0 {
			cut += fmt.Sprintf(", %d dials failed", r.Failed)
		}
	}
	ms := func(d time.Duration) string {
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
	}
	return fmt.Sprintf("| %s | %s | %s | %d | %.2f %% | %s / %s / %s | %d → %d → %d | %.1f |",
		name, did, cut, j.Requests, 100*j.share(), ms(j.P50), ms(j.P99), ms(j.Worst),
		w.before.resident/mib, w.peak/mib, w.end.resident/mib, (w.end.cpu - w.before.cpu).Seconds())
}
