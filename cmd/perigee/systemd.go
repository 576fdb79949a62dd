package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/admin"
	"perigee/config"
)

// What systemd tells a service: see sd_notify(3) and sd_listen_fds(3).
const (
	firstPassed = 3  // the number of the first descriptor that is passed
	mostPassed  = 64 // more are refused: nobody lists so many addresses, and a wrong number costs a system call each
)

// supervisor is whoever started the process and wants to be told how it goes. The
// zero value is nobody, which costs nothing. All methods may be called concurrently.
type supervisor struct {
	socket string // where it listens, "@" first for an abstract name; "" = nobody does
	log    *slog.Logger

	// reloads admits one reload at a time, so that what is said of two does not mix.
	reloads sync.Mutex

	// mu guards leaving, and the order of what is said.
	mu      sync.Mutex
	leaving bool
}

// ready says that the listeners are open, or that a reload is over.
func (s *supervisor) ready(status string) { s.tell(false, "READY=1\nSTATUS="+status) }

// reloading says that what runs is about to change, until ready.
func (s *supervisor) reloading() {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &since); err != nil {
		return
	}
	s.tell(false, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", time.Duration(since.Nano()).Microseconds()))
}

// stopping says that the end has begun. Nothing is said after it.
func (s *supervisor) stopping() {
	s.tell(true, "STOPPING=1\nSTATUS=Stopping: running responses may finish")
}

// tell sends one datagram. A supervisor that does not listen is logged and changes
// nothing: serving matters more.
func (s *supervisor) tell(last bool, state string) {
	if s.socket == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return
	}
	s.leaving = last
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		s.log.Warn("the service manager cannot be told", "state", strings.ReplaceAll(state, "\n", " "), "error", err)
	}
}

// tellReload is reload with the supervisor knowing of it.
func (n *node) tellReload(ctx context.Context) admin.ReloadResult {
	n.supervisor.reloads.Lock()
	defer n.supervisor.reloads.Unlock()
	n.supervisor.reloading()
	result := n.reload(ctx)
	n.change.Lock()
	listen, status := n.conf.Listen, n.status()
	n.change.Unlock()
	for _, p := range n.passed.unused(listen) {
		n.log.Warn("a socket that systemd passed is no longer among the addresses of listen; what connects to it waits in vain: take it out of the socket unit", "addr", p.addr.String())
	}
	if !result.OK {
		status += "; the last reload was refused"
	}
	n.supervisor.ready(status)
	return result
}

// status is what the node does, in a line. The caller holds change, or is alone.
func (n *node) status() string { return "Serving " + countSites(n.conf) }

// environment reads and removes variables. What was meant for this process is not
// meant for those that it might start, and not for a second node in it.
type environment struct {
	lookup func(string) (string, bool)
	unset  func(string) error
}

func processEnvironment() environment { return environment{os.LookupEnv, os.Unsetenv} }

func (e environment) take(name string) string {
	value, _ := e.lookup(name)
	_ = e.unset(name) // fails only for names that are none
	return value
}

// underSystemd takes what systemd has said and passed in the environment. Nothing is
// an answer like any other.
func (n *node) underSystemd(env environment) error {
	n.supervisor.socket, n.supervisor.log = env.take("NOTIFY_SOCKET"), n.log
	if s := n.supervisor.socket; s != "" && s[0] != '/' && s[0] != '@' {
		n.log.Warn("NOTIFY_SOCKET names no Unix socket; the service manager will not be told", "socket", s)
		n.supervisor.socket = ""
	}
	names, err := passedNames(env.take("LISTEN_PID"), env.take("LISTEN_FDS"), env.take("LISTEN_FDNAMES"), os.Getpid())
	_ = env.unset("LISTEN_PIDFDID")
	if err != nil {
		return err
	}
	var files []*os.File
	for i, name := range names {
		unix.CloseOnExec(firstPassed + i)
		// Asking a file that began as non-blocking for its number makes the socket block,
		// under listeners that share it. One that began as blocking is left alone.
		_ = unix.SetNonblock(firstPassed+i, false) // a descriptor that is none is found out below
		files = append(files, os.NewFile(uintptr(firstPassed+i), name))
	}
	n.passed = newPassed(files, n.log)
	return nil
}

// passedNames reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES: the name of each
// passed descriptor, "" where none was given. None are passed if the variables are
// empty, or meant for another process than pid.
func passedNames(forPID, count, names string, pid int) ([]string, error) {
	if count == "" || forPID != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	switch {
	case err != nil || n < 0:
		return nil, fmt.Errorf("LISTEN_FDS=%q is no number of sockets", count)
	case n > mostPassed:
		return nil, fmt.Errorf("LISTEN_FDS=%d: at most %d sockets can be passed", n, mostPassed)
	case names == "":
		return make([]string, n), nil
	}
	list := strings.Split(names, ":")
	if len(list) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES=%q names %d sockets and LISTEN_FDS=%d passes %d", names, len(list), n, n)
	}
	return list, nil
}

// passedSocket is one that listens already.
type passedSocket struct {
	name string
	file *os.File // stays open: a listener made of it is another descriptor
	addr *net.TCPAddr
}

// passedSockets are what systemd has bound for us. nil is none.
type passedSockets []*passedSocket

// newPassed takes over files. Those that are no listening TCP socket are closed with
// a warning.
func newPassed(files []*os.File, log *slog.Logger) passedSockets {
	var all passedSockets
	for _, file := range files {
		addr, err := listensOn(file)
		if err != nil {
			log.Warn("a socket that systemd passed is of no use here, and closed", "name", file.Name(), "descriptor", file.Fd(), "error", err)
			_ = file.Close()
			continue
		}
		all = append(all, &passedSocket{name: file.Name(), file: file, addr: addr})
	}
	return all
}

// listensOn is the address of a listening TCP socket.
func listensOn(file *os.File) (*net.TCPAddr, error) {
	listens, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return nil, os.NewSyscallError("getsockopt", err)
	case listens == 0:
		return nil, errors.New("it does not listen (ListenStream= and Accept=no are what is wanted)")
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	defer l.Close() // only this descriptor of it
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("it is a %s socket", l.Addr().Network())
	}
	return addr, nil
}

// serves reports whether the socket is for the address addr, as the configuration
// writes it. One that names no host is for all addresses, like the wildcard of
// either family.
func (p *passedSocket) serves(addr string) bool {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || want.Port != p.addr.Port {
		return false
	}
	if want.IP == nil {
		return p.addr.IP.IsUnspecified()
	}
	return want.IP.Equal(p.addr.IP) && want.Zone == p.addr.Zone
}

// wanted is which of the addresses in listen the socket is for, "" if none. Sockets
// that are named http or https are only for that list.
func (p *passedSocket) wanted(listen config.Listen) string {
	var addrs []string
	if p.name != "https" {
		addrs = append(addrs, listen.HTTP...)
	}
	if p.name != "http" {
		addrs = append(addrs, listen.HTTPS...)
	}
	for _, addr := range addrs {
		if p.serves(addr) {
			return addr
		}
	}
	return ""
}

// unused are the sockets that no address in listen is for, or another is for already.
func (all passedSockets) unused(listen config.Listen) []*passedSocket {
	taken := make(map[string]bool)
	var rest []*passedSocket
	for _, p := range all {
		addr := p.wanted(listen)
		if addr == "" || taken[addr] {
			rest = append(rest, p)
		}
		taken[addr] = true
	}
	return rest
}

// check says what to do about sockets that were passed for nothing: whoever connects
// to one would wait in vain.
func (all passedSockets) check(listen config.Listen) error {
	var faults []error
	for _, p := range all.unused(listen) {
		key, addrs := "listen.http or listen.https", append(append([]string{}, listen.HTTP...), listen.HTTPS...)
		switch p.name {
		case "http":
			key, addrs = "listen.http", listen.HTTP
		case "https":
			key, addrs = "listen.https", listen.HTTPS
		}
		faults = append(faults, fmt.Errorf("systemd passed a socket on %s, which is for none of the addresses in %s (%s), or for one that has a socket already: name it there, or take its ListenStream= out of the socket unit",
			p.addr, key, strings.Join(addrs, ", ")))
	}
	return errors.Join(faults...)
}

// opener is listener.Options.Listen: nil, which is the listener's own way, if there
// are no sockets to give.
func (all passedSockets) opener() func(network, addr string) (net.Listener, error) {
	if len(all) == 0 {
		return nil
	}
	return all.listen
}

// listen gives the passed socket for that address if there is one, else a new one. A passed socket stays with the process when its listener is
// closed, so that an address which a reload takes out can come back.
func (all passedSockets) listen(network, addr string) (net.Listener, error) {
	probes := net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}
	for _, p := range all {
		if !p.serves(addr) {
			continue
		}
		l, err := net.FileListener(p.file)
		if err != nil {
			return nil, fmt.Errorf("the socket that systemd passed: %w", err)
		}
		return &probing{l, probes}, nil
	}
	return (&net.ListenConfig{KeepAliveConfig: probes}).Listen(context.Background(), network, addr)
}

// close gives the sockets back: systemd has them still.
func (all passedSockets) close() {
	for _, p := range all {
		_ = p.file.Close()
	}
}

// probing has the system notice peers that are dead, as it does for sockets that are
// bound here.
type probing struct {
	net.Listener
	probes net.KeepAliveConfig
}

func (l *probing) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		if err := tcp.SetKeepAliveConfig(l.probes); err != nil && !errors.Is(err, syscall.EINVAL) {
			_ = tcp.Close()
			return nil, err
		}
	}
	return conn, err
}
