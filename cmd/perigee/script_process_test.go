package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is a perigee in the background.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr buffer
	exited         chan struct{} // closed when it has ended
	waited         bool          // the story has seen its end
}

func (s *story) start(_ bool, args []string) {
	flags, args := s.args("start [-as NAME] perigee ARGS…", args, 2, -1, "as=")
	if args[0] != "perigee" {
		s.ts.Fatalf("usage: start [-as NAME] perigee ARGS…")
	}
	if names := flags["as"]; names != nil {
		p := s.launch(args[1:])
		s.others = append(s.others, p)
		found := p.addresses()
		s.setenv(names[0], "http://"+found["http"])
		s.setenv(names[0]+"_ADDR", found["http"])
		return
	}
	if s.process != nil && !s.process.waited {
		s.ts.Fatalf("a perigee runs already")
	}
	s.process = s.launch(args[1:])
	s.readAddresses()
}

// launch starts a perigee and waits until it says that it serves.
func (s *story) launch(args []string) *process {
	p := &process{cmd: exec.Command(s.binary(), s.withPorts(args)...), exited: make(chan struct{})}
	p.cmd.Dir = s.ts.MkAbs(".")
	p.cmd.Env = s.environment()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	s.ts.Check(p.cmd.Start())
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // its code is looked at by wait-exit
	}()
	s.poll("start perigee", func() (bool, string) {
		select {
		case <-p.exited:
			s.ts.Fatalf("perigee ended at once, with code %d:\n%s", p.cmd.ProcessState.ExitCode(), p.stderr.String())
		default:
		}
		text := p.stderr.String()
		return strings.Contains(text, "\n  stores "), text
	})
	return p
}

// withPorts adds the flags that keep a `perigee proxy` off fixed ports.
func (s *story) withPorts(args []string) []string {
	if args[0] != "proxy" {
		return args
	}
	given := func(flag string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") })
	}
	if !given("--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	if !given("--listen-tls") && s.wire != "http1" {
		args = append(args, "--listen-tls", "127.0.0.1:0")
	}
	if !given("--admin") {
		args = append(args, "--admin", "127.0.0.1:0")
	}
	return args
}

// raceOptions: a process with a data race ends at once, others without the pause
// that the race detector makes at the end of each.
const raceOptions = "halt_on_error=1 atexit_sleep_ms=0"

func (s *story) environment() []string {
	env := []string{"GORACE=" + raceOptions}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "GOMEMLIMIT", "GOCOVERDIR", "NO_COLOR"} {
		if value := s.ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range s.vars {
		env = append(env, name+"="+value)
	}
	return env
}

var announced = regexp.MustCompile(`(?m)^  (listens|operator) +(https?)://([^/\s]+)`)

// addresses are what the perigee announced, by what listens there: http, https,
// operator.
func (p *process) addresses() map[string]string {
	found := make(map[string]string)
	for _, match := range announced.FindAllStringSubmatch(p.stderr.String(), -1) {
		what := match[1]
		if what == "listens" {
			what = match[2]
		}
		if found[what] == "" {
			found[what] = strings.NewReplacer("0.0.0.0:", "127.0.0.1:", "[::]:", "127.0.0.1:").Replace(match[3])
		}
	}
	return found
}

// readAddresses sets the variables from what perigee announced.
func (s *story) readAddresses() {
	found := s.process.addresses()
	s.setenv("ADDR", found["http"])
	s.setenv("ADDRTLS", found["https"])
	s.setenv("EDGE", "http://"+found["http"])
	s.setenv("EDGETLS", "https://"+found["https"])
	s.setenv("ADMIN_ADDR", found["operator"])
	s.setenv("ADMIN", "http://"+found["operator"])
	if s.wire != "http1" {
		s.setenv("EDGE", "https://"+found["https"])
		s.setenv("ADDR", found["https"])
	}
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL,
}

func (s *story) signal(_ bool, args []string) {
	_, args = s.args("signal HUP|INT|TERM|KILL", args, 1, 1)
	sig, ok := signals[args[0]]
	if !ok {
		s.ts.Fatalf("unknown signal %q", args[0])
	}
	s.ts.Check(s.running().cmd.Process.Signal(sig))
}

func (s *story) running() *process {
	if s.process == nil {
		s.ts.Fatalf("no perigee was started")
	}
	return s.process
}

func (s *story) waitExit(_ bool, args []string) {
	_, args = s.args("wait-exit CODE|killed", args, 1, 1)
	p, want := s.running(), -1 // as of a process that a signal ended
	if args[0] != "killed" {
		want = s.number(args[0])
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.exited:
	case <-deadline.C:
		s.ts.Fatalf("perigee does not end:\n%s", p.stderr.String())
	}
	p.waited = true
	fmt.Fprint(s.ts.Stdout(), p.stdout.String())
	fmt.Fprint(s.ts.Stderr(), p.stderr.String())
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		s.ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func (s *story) log(neg bool, args []string) {
	_, args = s.args("log REGEXP", args, 1, 1)
	p, re := s.running(), s.regexp(args[0])
	if neg {
		if text := p.stderr.String(); re.MatchString(text) {
			s.ts.Fatalf("%#q is in what perigee wrote:\n%s", args[0], text)
		}
		return
	}
	s.poll("log", func() (bool, string) {
		text := p.stderr.String()
		return re.MatchString(text), text
	})
}

// close ends the process and says what no story may leave unseen.
func (p *process) close(ts *testscript.TestScript) (fault string) {
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.exited:
	case <-deadline.C:
		fault = "perigee did not end after SIGTERM"
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it writes what its goroutines do
		<-p.exited
	}
	text := p.stderr.String()
	ts.Logf("[perigee's stderr]\n%s", text)
	code := p.cmd.ProcessState.ExitCode()
	switch {
	case fault != "":
	case strings.Contains(text, "DATA RACE"):
		fault = "perigee has a data race"
	case strings.Contains(text, "panic"):
		fault = "perigee panicked"
	case !p.waited && code != exitOK:
		fault = fmt.Sprintf("perigee ended with code %d after SIGTERM", code)
	}
	return fault
}

// exits runs perigee in the foreground.
func (s *story) exits(_ bool, args []string) {
	if len(args) < 2 || args[1] != "perigee" {
		s.ts.Fatalf("usage: exits CODE perigee ARGS…")
	}
	cmd := exec.Command(s.binary(), args[2:]...)
	cmd.Dir, cmd.Env = s.ts.MkAbs("."), s.environment()
	cmd.Stdout, cmd.Stderr = s.ts.Stdout(), s.ts.Stderr()
	s.ts.Check(cmd.Start())
	over := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer over.Stop()
	err := cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		s.ts.Check(err)
	}
	if got, want := cmd.ProcessState.ExitCode(), s.number(args[0]); got != want {
		s.ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// binary is the command as it was set up for all stories.
func (s *story) binary() string {
	return filepath.Join(filepath.SplitList(s.ts.Getenv("PATH"))[0], "perigee")
}

// freePort sets a variable to a port that was free a moment ago.
func (s *story) freePort(_ bool, args []string) {
	_, args = s.args("freeport VAR", args, 1, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.ts.Check(err)
	s.setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	s.ts.Check(l.Close())
}

func (s *story) waitFile(_ bool, args []string) {
	_, args = s.args("wait-file FILE REGEXP", args, 2, 2)
	re := s.regexp(args[1])
	s.poll("wait-file", func() (bool, string) {
		text, err := os.ReadFile(s.ts.MkAbs(args[0]))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.ts.Fatalf("%v", err)
		}
		return re.Match(text), string(text)
	})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
