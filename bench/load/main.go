// Load sends requests to a perigee in front of a scripted origin (bench/origin),
// compares every body with what the origin must have sent, and watches the memory
// of the process. All of it is bounded in bytes and in time.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// command is one kind of load. It gets its arguments and prints what it found; the
// error says what was not as it must be.
type command func(ctx context.Context, args []string) error

// commands are the kinds of load by name.
func commands() map[string]command {
	return map[string]command{"warm": warm, "mix": mix, "collapse": collapse}
}

// longest bounds every command.
const longest = 9 * time.Minute

func main() {
	if len(os.Args) < 2 || commands()[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "load: warm, mix or collapse? Each takes -h.")
		os.Exit(2)
	}
	ctx, end := context.WithTimeout(context.Background(), longest)
	defer end()
	if err := commands()[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "load %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
