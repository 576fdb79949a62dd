package trial

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long is waited for what must come.
const patience = 30 * time.Second

// maxLogBytes is how much of a life's log is kept.
const maxLogBytes = 1 << 20

// process is one life of perigee.
type process struct {
	life   int64
	cmd    *exec.Cmd
	log    logText
	began  time.Time
	exited chan struct{}

	answered atomic.Bool  // from now on every request must be answered,
	doomed   atomic.Bool  // until it is ended from here
	firstHit atomic.Int64 // from disk, nanoseconds after the start
}

// endBytes is how much of a log is told where something is wrong.
const endBytes = 3000

// logText is what a process has written.
type logText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := maxLogBytes - l.text.Len(); room > 0 {
		l.text.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// String is all of it.
func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// end is what stands last, or a panic from its beginning on.
func (l *logText) end() string {
	text := l.String()
	if at := disaster.FindStringIndex(text); at != nil {
		return text[at[0]:min(len(text), at[0]+endBytes)]
	}
	return text[max(0, len(text)-endBytes):]
}

// troubles are the lines that warn or complain.
func (l *logText) troubles() (lines []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// launch starts perigee; its standard output, the access log, goes nowhere.
func launch(life int64, binary string, args, env []string) (*process, error) {
	p := &process{life: life, cmd: exec.Command(binary, args...), exited: make(chan struct{}), began: time.Now()}
	p.cmd.Stderr = &p.log
	p.cmd.Env = append(os.Environ(), env...)
	// What ends this program by force ends the process too. It is tied to the thread that
	// has started it, so that one is kept.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is asked of its state
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// kill ends it as nothing else does.
func (p *process) kill() {
	p.doomed.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop ends it as an operator does, and says what was wrong with its end.
func (p *process) stop() error {
	p.doomed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case <-p.exited:
	case <-over.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its log has what it does then
		<-p.exited
		return errors.New("it did not end after SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("it ended with code %d after SIGTERM", code)
	}
	return nil
}

// alive tells whether it has not ended by itself.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// ends tells whether it ends by itself just now, which is a fault of its own.
func (p *process) ends(ctx context.Context) bool {
	pause(ctx, 50*time.Millisecond)
	return !p.alive()
}

// resident is its resident memory in bytes, now and at most.
func (p *process) resident() (now, most int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			now = kib << 10
		case "VmHWM":
			most = kib << 10
		}
	}
	return now, most, nil
}
