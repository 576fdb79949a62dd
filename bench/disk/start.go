package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// soon is how long is waited between two looks at a process that starts.
const soon = time.Millisecond

// start starts a perigee on a folder that has something in it, and prints how long it
// takes until it answers, until something from disk is served, until it knows all that
// is there, and what it takes of memory then. It kills it at the end.
func start(ctx context.Context, args []string) error {
	var t targets
	f := flag.NewFlagSet("start", flag.ExitOnError)
	t.flags(f)
	admin := f.String("admin", "", "`URL` of the operator's listener")
	empty := f.Int64("empty", 0, "resident KiB of a process without objects, to be subtracted; 0 = this is one")
	f.Parse(args)
	cmd := exec.CommandContext(ctx, f.Arg(0), f.Args()[1:]...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	served, hit, asked, err := t.firstHit(ctx, began, *empty > 0)
	if err != nil {
		return err
	}
	whole, objects, err := complete(ctx, *admin, began)
	if err != nil {
		return err
	}
	resident, err := residentKiB(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if *empty == 0 {
		fmt.Println(resident)
		return nil
	}
	fmt.Printf("first response after %v, first hit after %v (request %d), index complete after %v with %d objects\n",
		served.Round(time.Millisecond), hit.Round(time.Millisecond), asked, whole.Round(time.Millisecond), objects)
	fmt.Printf("resident then: %.1f MiB, %.1f MiB without objects: %.1f bytes for each\n",
		float64(resident)/1024, float64(*empty)/1024, float64(resident-*empty)*1024/float64(max(objects, 1)))
	return nil
}

// firstHit asks for a target from anywhere in the range, a new one each time, until one
// is a hit, or is just answered.
func (t *targets) firstHit(ctx context.Context, began time.Time, mustHit bool) (served, hit time.Duration, asked int, err error) {
	const spread = 0x9e3779b1 // prime, so that all numbers come once
	for {
		is, err := t.isHit(ctx, t.first+asked*spread%t.n)
		if err != nil {
			if pause(ctx, soon); ctx.Err() != nil {
				return 0, 0, 0, err
			}
			continue
		}
		if served == 0 {
			served = time.Since(began)
		}
		if asked++; is || !mustHit {
			return served, time.Since(began), asked, nil
		}
	}
}

// complete waits until the index is.
func complete(ctx context.Context, admin string, began time.Time) (took time.Duration, objects int64, err error) {
	for {
		resp, err := http.Get(admin + "/v1/stats")
		if err != nil {
			return 0, 0, err
		}
		var stats struct {
			Disk *struct {
				Loading bool
				Objects int64
			}
		}
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&stats), resp.Body.Close())
		switch {
		case err != nil:
			return 0, 0, err
		case stats.Disk == nil:
			return 0, 0, errors.New("it has no disk")
		case !stats.Disk.Loading:
			return time.Since(began), stats.Disk.Objects, nil
		}
		if pause(ctx, soon); ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
	}
}

func residentKiB(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, errors.New("the process has no memory any more: it ended")
	}
	return strconv.ParseInt(fields[0], 10, 64)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
