// Crash puts a built perigee through what a disk does to it: kill -9, damage, no room,
// no permission. It starts an origin and clients of its own, and compares every byte.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"perigee/bench/crash/trial"
)

const mib = 1 << 20

func main() {
	var o trial.Options
	flag.StringVar(&o.Binary, "perigee", "perigee", "the `program`")
	flag.StringVar(&o.Folder, "disk", "", "`folder` for stored responses, damaged and filled")
	size := flag.Int64("disk-size", 256, "`MiB`")
	ram := flag.Int64("ram", 64, "`MiB`")
	flag.IntVar(&o.Clients, "clients", 24, "how many")
	flag.IntVar(&o.Objects, "objects", 600, "how many URLs")
	flag.Int64Var(&o.Least, "least", 1<<10, "bytes of the smallest object")
	flag.Int64Var(&o.Most, "most", 8<<20, "bytes of the largest object")
	flag.Uint64Var(&o.Seed, "seed", 1, "of what is random")
	flag.IntVar(&o.Kills, "kills", 20, "how often it is killed")
	flag.DurationVar(&o.Life, "life", 2*time.Second, "it is killed within this `time`")
	flag.BoolVar(&o.Purge, "purge", true, "purge meanwhile")
	flag.BoolVar(&o.Refuses, "refuses", false, "purges may be refused")
	flag.BoolVar(&o.Damage, "damage", false, "damage files between lives")
	flag.BoolVar(&o.Live, "live", false, "damage files while it runs")
	flag.StringVar(&o.Trouble, "trouble", "", "`command` that breaks the disk while it runs, in every other life")
	flag.StringVar(&o.Relief, "relief", "", "`command` that mends it after such a life")
	flag.BoolVar(&o.Flood, "flood", false, "ask for each object in turn, and end then")
	flag.DurationVar(&o.FirstHit, "first-hit", time.Second, "`time` from the start to the first hit from disk at most; 0 = any")
	flag.BoolVar(&o.NoHits, "no-hits", false, "nothing need come from disk")
	memory := flag.Bool("memory", false, "hold the resident memory to the budget × 1.25 + 128 MiB")
	flag.StringVar(&o.MustLog, "must-log", "", "`regexp` that must match what is logged")
	flag.BoolVar(&o.Verbose, "v", false, "a line for each life")
	flag.StringVar(&o.Logs, "logs", "", "`folder` for what each life has logged")
	longest := flag.Duration("longest", 9*time.Minute, "bound of the whole run")
	flag.Parse()
	o.Size, o.RAM, o.Out = *size*mib, *ram*mib, os.Stdout
	if *memory {
		o.Memory = o.RAM*5/4 + 128*mib
	}
	ctx, end := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, *longest)
	defer cancel()
	if err := trial.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}
