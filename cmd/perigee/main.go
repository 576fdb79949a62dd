package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// The exit codes, the same for every command.
const (
	exitOK      = 0
	exitError   = 1
	exitUsage   = 2 // the command line was not understood
	exitInvalid = 3 // the configuration is invalid
)

func main() { os.Exit(run(os.Args[1:])) }

// run runs one command line and returns its exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	code, silent := exitError, false
	var coded *exitCode
	if errors.As(err, &coded) {
		code, silent = coded.code, coded.silent
	}
	if !silent {
		fmt.Fprintln(os.Stderr, "perigee:", err)
	}
	if code == exitUsage {
		fmt.Fprintln(os.Stderr, "See `"+commandPath(root, args)+" --help`.")
	}
	return code
}

// exitCode is an error that ends the process with a code of its own.
type exitCode struct {
	code   int
	silent bool // what there is to say has been printed
	err    error
}

func (e *exitCode) Error() string { return e.err.Error() }
func (e *exitCode) Unwrap() error { return e.err }

// usage is an error of whoever typed the command line.
func usage(format string, args ...any) error {
	return &exitCode{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// commandPath is the command whose help would have helped.
func commandPath(root *cobra.Command, args []string) string {
	if found, _, err := root.Find(args); err == nil {
		return found.CommandPath()
	}
	return root.CommandPath()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "perigee",
		Short: "A CDN edge that anyone can run",
		Long: `perigee answers HTTP and TLS for your sites from its cache where HTTP allows it,
and asks your origin where it must, once for everybody who waits.`,
		Example: `  perigee proxy --to http://localhost:3000          cache in front of one server, no file needed
  perigee run --config perigee.yaml                 serve the sites of a configuration
  perigee validate --config perigee.yaml            check it first`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Cobra looks at Args only where there is something to run.
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	root.AddCommand(newProxy(), newRun(), newValidate(), newReload(), newPurge(), newExplain(), newCache(), newSchema(), newVersion(), newHealthcheck())
	return root
}

// noArgs refuses arguments that a command does not take.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, only flags: %q is too much", cmd.CommandPath(), args[0])
	}
	return nil
}
