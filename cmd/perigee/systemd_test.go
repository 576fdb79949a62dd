package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/config"
	"perigee/internal/need"
	"perigee/internal/testorigin"
)

// manager is a service manager's end of NOTIFY_SOCKET.
type manager struct {
	conn *net.UnixConn
	name string
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{conn, name}
}

// hears returns the next datagram.
func (m *manager) hears(t *testing.T) string {
	t.Helper()
	over := time.AfterFunc(patience, func() { m.conn.Close() })
	defer over.Stop()
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		t.Fatalf("the service manager was not told: %v", err)
	}
	return string(buf[:n])
}

func (m *manager) expect(t *testing.T, want string) {
	t.Helper()
	if got := m.hears(t); !regexp.MustCompile(`^(?s:` + want + `)$`).MatchString(got) {
		t.Fatalf("the service manager was told %q, want %q", got, want)
	}
}

// asService starts the real command as systemd would: env is added, files become
// descriptors 3 and up, and LISTEN_PID is the command's own.
func asService(t *testing.T, env []string, files []*os.File, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath("perigee") // testscript has put it there
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(files)))
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh", path}, args...)...)
	cmd.Env = append(os.Environ(), append(env, "GORACE="+raceOptions)...)
	cmd.ExtraFiles = files
	return runs(t, cmd)
}

// runs starts a command and ends it with the test.
func runs(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("stderr of %v:\n%s", cmd.Args, p.stderr.String())
		}
	})
	return p
}

// ends waits for a process and compares its exit code.
func (p *process) ends(t *testing.T, want int) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.exited:
	case <-deadline.C:
		t.Fatalf("the process does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("the process ended with code %d, want %d", got, want)
	}
}

// tcp listens on a free port and returns the socket as a file besides.
func tcp(t *testing.T) (addr string, file *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err = l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return l.Addr().String(), file
}

// ask wants 200 of a health request, which needs no origin.
func ask(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/.perigee/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %d, want 200", r.URL, resp.StatusCode)
	}
}

// settings writes a node file that listens on http and admin, and a site beside it.
func settings(t *testing.T, dir, http, admin, more string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "perigee.yaml")
	for name, text := range map[string]string{
		file:                            "listen: {http: [\"" + http + "\"], admin: \"" + admin + "\"}\nlog: {access: \"off\"}\nsites: [site.yaml]\n" + more,
		filepath.Join(dir, "site.yaml"): "site: www.example.com\norigin: http://192.0.2.1\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// TestServiceLife: what a service manager is told from start to stop, and that the
// socket it passed is the one that serves, also after a reload took it out and
// another put it back.
func TestServiceLife(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"path", "abstract"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name, admin := filepath.Join(dir, "n"), "off"
			if kind == "abstract" {
				admin = "127.0.0.1:0" // reloads go through the operator's listener
				name = fmt.Sprintf("@perigee-test-%d", os.Getpid())
			}
			m := newManager(t, name)
			addr, file := tcp(t)
			conf := settings(t, dir, addr, admin, "")
			p := asService(t, []string{"NOTIFY_SOCKET=" + name, "LISTEN_FDNAMES=http"}, []*os.File{file}, "run", "--config", conf)
			m.expect(t, "READY=1\nSTATUS=Serving 1 site, www.example.com")
			ask(t, addr)
			reload := func(status string) {
				t.Helper()
				if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				m.expect(t, `RELOADING=1\nMONOTONIC_USEC=[1-9]\d*`)
				m.expect(t, "READY=1\nSTATUS="+status)
			}
			settings(t, dir, addr, admin, "nonsense: 1\n")
			reload("Serving 1 site, www.example.com; the last reload was refused")
			ask(t, addr)
			settings(t, dir, "127.0.0.1:0", admin, "")
			reload("Serving 1 site, www.example.com")
			settings(t, dir, addr, admin, "")
			reload("Serving 1 site, www.example.com")
			ask(t, addr)
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			m.expect(t, "STOPPING=1\nSTATUS=.*")
			p.ends(t, exitOK)
			if text := p.stderr.String(); !strings.Contains(text, "no longer among the addresses of listen") {
				t.Errorf("a passed socket went out of use without a word:\n%s", text)
			}
		})
	}
}

func TestSocketOutsideOfConfiguration(t *testing.T) {
	t.Parallel()
	addr, file := tcp(t)
	other, _ := tcp(t)
	dir := t.TempDir()
	for _, c := range []struct{ names, listen, want string }{
		{"", other, "systemd passed a socket on " + addr + ", which is for none of the addresses in listen.http or listen.https (" + other + ")"},
		{"https", addr, "which is for none of the addresses in listen.https ()"},
		{"a:b", addr, `LISTEN_FDNAMES="a:b" names 2 sockets and LISTEN_FDS=1 passes 1`},
	} {
		conf := settings(t, dir, c.listen, "off", "")
		p := asService(t, []string{"LISTEN_FDNAMES=" + c.names}, []*os.File{file}, "run", "--config", conf)
		p.ends(t, exitError)
		if text := p.stderr.String(); !strings.Contains(text, c.want) {
			t.Errorf("a socket named %q on %s, configured %s: stderr %q, want %q", c.names, addr, c.listen, text, c.want)
		}
	}
}

// TestUselessSockets: what is no listening TCP socket is closed with a warning, and
// a service manager that does not listen stops nothing.
func TestUselessSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	udpFile, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer udpFile.Close()
	unixListener, err := net.Listen("unix", filepath.Join(dir, "u"))
	if err != nil {
		t.Fatal(err)
	}
	defer unixListener.Close()
	unixFile, err := unixListener.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer unixFile.Close()
	addr, file := tcp(t)
	p := asService(t, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "nobody")}, []*os.File{udpFile, unixFile, file},
		"run", "--config", settings(t, dir, addr, "off", ""))
	ask(t, addr)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(t, exitOK)
	text := p.stderr.String()
	for _, want := range []string{"it does not listen", "it is a unix socket", "the service manager cannot be told"} {
		if !strings.Contains(text, want) {
			t.Errorf("stderr %q, want %q", text, want)
		}
	}
}

func TestPassedNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pid, count, names string
		want              []string
		fault             string
	}{
		{"", "", "", nil, ""},
		{"7", "2", "", []string{"", ""}, ""},
		{"7", "2", "http:https", []string{"http", "https"}, ""},
		{"7", "2", ":https", []string{"", "https"}, ""},
		{"7", "0", "", []string{}, ""},
		{"8", "2", "", nil, ""}, // meant for another process
		{"", "2", "", nil, ""},
		{"7", "2", "http", nil, "names 1 sockets and LISTEN_FDS=2"},
		{"7", "-1", "", nil, "is no number of sockets"},
		{"7", "two", "", nil, "is no number of sockets"},
		{"7", "65", "", nil, "at most 64"},
	} {
		got, err := passedNames(c.pid, c.count, c.names, 7)
		if (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("passedNames(%q, %q, %q): error %v, want %q", c.pid, c.count, c.names, err, c.fault)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("passedNames(%q, %q, %q) (-want +got):\n%s", c.pid, c.count, c.names, diff)
		}
	}
}

func FuzzPassedNames(f *testing.F) {
	f.Add("7", "2", "http:https")
	f.Add("7", "1", "")
	f.Add("7", "99999999999999999999", ":::")
	f.Fuzz(func(t *testing.T, pid, count, names string) {
		got, err := passedNames(pid, count, names, 7)
		if len(got) > mostPassed || err != nil && got != nil || pid != "7" && got != nil {
			t.Errorf("passedNames(%q, %q, %q) = %q, %v", pid, count, names, got, err)
		}
		if names != "" && len(got) > 0 && strings.Join(got, ":") != names {
			t.Errorf("passedNames(%q, %q, %q) = %q, want the names that were given", pid, count, names, got)
		}
	})
}

func TestPassedSocketServes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bound, configured string
		want              bool
	}{
		{"[::]:80", ":80", true},
		{"0.0.0.0:80", ":80", true},
		{"0.0.0.0:80", "0.0.0.0:80", true},
		{"[::]:80", "[::]:80", true},
		{"[::]:80", "0.0.0.0:80", false},
		{"[::]:80", "192.0.2.1:80", false},
		{"192.0.2.1:80", "192.0.2.1:80", true},
		{"192.0.2.1:80", "[::ffff:192.0.2.1]:80", true},
		{"192.0.2.1:80", ":80", false},
		{"[::]:80", ":443", false},
		{"[::]:80", "80", false},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.bound)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&passedSocket{addr: addr}).serves(c.configured); got != c.want {
			t.Errorf("a socket on %s serves %s: %t, want %t", c.bound, c.configured, got, c.want)
		}
	}
}

func TestUnusedSockets(t *testing.T) {
	t.Parallel()
	listen := config.Listen{HTTP: []string{":80"}, HTTPS: []string{":443"}}
	for _, c := range []struct {
		name string
		port int
		used bool
	}{
		{"", 80, true},
		{"", 443, true},
		{"perigee.socket", 443, true},
		{"http", 80, true},
		{"https", 443, true},
		{"https", 80, false},
		{"http", 443, false},
		{"", 81, false},
	} {
		p := &passedSocket{name: c.name, addr: &net.TCPAddr{IP: net.IPv6unspecified, Port: c.port}}
		if got := len(passedSockets{p}.unused(listen)) == 0; got != c.used {
			t.Errorf("a socket named %q on port %d is used: %t, want %t", c.name, c.port, got, c.used)
		}
		if rest := (passedSockets{p, p}).unused(listen); c.used && len(rest) != 1 {
			t.Errorf("two sockets named %q on port %d: %d are unused, want 1", c.name, c.port, len(rest))
		}
	}
}

// TestSupervisorSaysNothingLast: a reload that ends during the stop does not claim
// that the node is ready.
func TestSupervisorSaysNothingLast(t *testing.T) {
	t.Parallel()
	m := newManager(t, filepath.Join(t.TempDir(), "n"))
	s := &supervisor{socket: m.name, log: slog.New(slog.DiscardHandler)}
	s.stopping()
	s.ready("late")
	end, err := net.Dial("unixgram", m.name)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := io.WriteString(end, "end"); err != nil {
		t.Fatal(err)
	}
	m.expect(t, "STOPPING=1\n.*")
	m.expect(t, "end")
}

func TestTakeUnsets(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"NOTIFY_SOCKET": "@x", "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "LISTEN_PIDFDID": "9", "HOME": "/"}
	env := environment{
		lookup: func(name string) (string, bool) { value, ok := vars[name]; return value, ok },
		unset:  func(name string) error { delete(vars, name); return nil },
	}
	n := &node{log: slog.New(slog.DiscardHandler)}
	if err := n.underSystemd(env); err != nil || n.supervisor.socket != "@x" || n.passed != nil {
		t.Errorf("underSystemd: %v, socket %q, passed %v; want @x and none, which were meant for process 1", err, n.supervisor.socket, n.passed)
	}
	if diff := cmp.Diff(map[string]string{"HOME": "/"}, vars); diff != "" {
		t.Errorf("variables left (-want +got):\n%s", diff)
	}
}

// TestSystemdSocketActivate: systemd's own program starts the command at the first
// connection and passes the socket.
func TestSystemdSocketActivate(t *testing.T) {
	t.Parallel()
	activate := need.Command(t, "systemd-socket-activate")
	perigee, err := exec.LookPath("perigee")
	if err != nil {
		t.Fatal(err)
	}
	origin := testorigin.Start(t)
	m := newManager(t, filepath.Join(t.TempDir(), "n"))
	addr, file := tcp(t)
	file.Close() // the port is free again, and systemd's to bind
	p := runs(t, exec.Command(activate, "-l", addr, "--fdname=http", "-E", "NOTIFY_SOCKET="+m.name, "-E", "GORACE="+raceOptions,
		perigee, "proxy", "--to", origin.URL, "--listen", addr, "--admin", "off"))
	conn := dial(t, p, addr)
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	m.expect(t, "READY=1\nSTATUS=.*")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Cache-Status"), "perigee; fwd=miss") {
		t.Errorf("the request that woke it up: %s, Cache-Status %q; want 200 of a miss", resp.Status, resp.Header.Get("Cache-Status"))
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.expect(t, "STOPPING=1\n.*")
	p.ends(t, exitOK)
}

// dial connects to addr as soon as p listens there.
func dial(t *testing.T, p *process, addr string) net.Conn {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn
		}
		select {
		case <-tick.C:
		case <-p.exited:
			t.Fatalf("it ended: %s", p.stderr.String())
		case <-deadline.C:
			t.Fatalf("nobody listens on %s: %v", addr, err)
		}
	}
}
