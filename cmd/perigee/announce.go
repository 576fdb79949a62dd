package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"

	"perigee/config"
	"perigee/edge"
)

// announce says what was started, and one thing to try.
func (n *node) announce(w io.Writer) {
	http, https := n.listeners.Addrs()
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(w, "perigee %s\n", version)
	for _, addr := range http {
		line("listens", "http://%s", reach(addr, ""))
	}
	for _, addr := range https {
		line("listens", "https://%s", reach(addr, ""))
	}
	if n.adminAddr != nil {
		line("operator", "http://%s/metrics", n.adminAddr)
	}
	for _, site := range n.conf.Sites {
		name := site.Name
		if name == edge.CatchAll {
			name = "every host"
		}
		line("serves", "%s from %s", name, site.Origin.Upstreams[0].URL)
	}
	folders := n.conf.Store.Disks
	if n.disk == nil {
		folders = nil // they cannot be used
	}
	line("stores", "up to %s in memory, %s", sizeText(n.conf.Store.RAM), diskText(folders))
	if try := n.tryLine(http, https); try != "" {
		line("try", "%s", try)
	}
}

// diskText says what is kept on disk.
func diskText(folders []config.Disk) string {
	if len(folders) == 0 {
		return "nothing on disk"
	}
	var texts []string
	for _, f := range folders {
		texts = append(texts, sizeText(f.Size)+" in "+f.Path)
	}
	return strings.Join(texts, ", ")
}

// tryLine is one curl command that shows the cache at work.
func (n *node) tryLine(http, https []net.Addr) string {
	host := n.conf.Sites[0].Name
	if host == edge.CatchAll {
		host = ""
	}
	as := ""
	if host != "" {
		as = " -H 'Host: " + host + "'"
	}
	switch {
	case len(http) > 0:
		return fmt.Sprintf("curl -s -o /dev/null -D -%s http://%s/", as, reach(http[0], "localhost"))
	case len(https) > 0 && host == "":
		return fmt.Sprintf("curl -sk -o /dev/null -D - https://%s/", reach(https[0], "localhost"))
	case len(https) > 0:
		return fmt.Sprintf("curl -sk -o /dev/null -D - --connect-to ::%s https://%s/", reach(https[0], "localhost"), host)
	}
	return ""
}

// reach is an address as one would type it: local stands for "every address".
func reach(addr net.Addr, local string) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	if local == "" {
		local = "*"
	}
	return fmt.Sprintf("%s:%d", local, tcp.Port)
}

// sizeText is a number of bytes in the largest unit that divides it.
func sizeText(n int64) string {
	units := []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
	for _, unit := range units {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d %s", n/unit.bytes, unit.name)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%d bytes", n))
}

// limitMemory tells the garbage collector what the process may take: the budget
// for stored responses and a quarter for what the collector has not got to, and
// what a process and its connections need besides. GOMEMLIMIT, if set, is obeyed.
func limitMemory(budget int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(budget + budget/4 + processBytes)
	}
}

// processBytes is what a process takes beside its store, with some hundred
// connections.
const processBytes = 64 << 20
