package config

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// buildNode makes the typed node of a node file, the sites apart, and reports what only whole blocks can be wrong in.
func (l *loader) buildNode(v *value) *Node {
	n := defaultNode()
	set(&n.Name, v.get("node"), "name")
	n.State = v.source.buildState(v.get("node"))
	if listen := v.get("listen"); listen != nil {
		n.Listen = l.buildListen(v.source, listen)
	}
	buildLimits(&n.Limits, v.get("limits"))
	buildLog(&n.Log, v.get("log"))
	v.source.buildStore(&n, v.get("store"))
	n.Geo = v.source.buildGeo(v.get("geo"))
	l.knowsPlaces = len(n.Geo.Databases) > 0 || v.get("geo").isFlawed()
	n.API = l.buildAPI(v, n.Listen)
	return &n
}

func (l *loader) buildListen(s *source, v *value) Listen {
	out := namedListen()
	setTexts(&out.HTTP, v, "http")
	setTexts(&out.HTTPS, v, "https")
	if admin := v.get("admin"); admin != nil {
		out.Admin, _ = admin.scalar.(string)
		if admin.word { // off
			out.Admin = ""
		}
	}
	if token := v.get("admin_token_file"); token != nil {
		out.AdminTokenFile, _ = token.scalar.(string)
		out.AdminToken = s.secret(token, out.AdminTokenFile)
		if out.AdminToken != "" {
			l.secrets[out.AdminToken] = named{s.file, token.at}
		}
	}
	var proxies []string
	setTexts(&proxies, v, "trusted_proxies")
	for _, each := range proxies {
		if network, err := netip.ParsePrefix(each); err == nil {
			out.TrustedProxies = append(out.TrustedProxies, network)
		}
	}
	checkListen(s, v, out)
	return out
}

// checkListen holds the sockets against each other.
func checkListen(s *source, v *value, out Listen) {
	if v.get("http") == nil && v.get("https") == nil && !v.flawed {
		s.fault(v.at, v.path, "opens neither http nor https, so no site can be reached", `add one, for example: http: ":80"`)
	}
	if out.Admin != "" && !isLoopback(out.Admin) && out.AdminTokenFile == "" {
		s.fault(v.place("admin"), "listen.admin", "off loopback, the operator's listener needs admin_token_file",
			`name a file with a token, or listen on "127.0.0.1:9180"`)
	}
	opened := make(map[string]string)
	for _, name := range []string{"http", "https", "admin"} {
		f := v.get(name)
		if f == nil || f.word {
			continue
		}
		for _, one := range append([]*value{f}, f.items...) {
			address, ok := one.scalar.(string)
			if !ok || strings.HasSuffix(address, ":0") {
				continue
			}
			if first := opened[address]; first != "" {
				s.fault(one.at, one.path, "opens "+address+", which "+first+" opens already", "give each its own port")
			}
			opened[address] = one.path
		}
	}
}

// isLoopback reports whether only this host can reach an address.
func isLoopback(address string) bool {
	host, _, _ := cutPort(address)
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// secret is the content of a secret's file without the line break at its end; "" for no path, or when it is reported.
func (s *source) secret(v *value, path string) string {
	if path == "" {
		return ""
	}
	data, err := readFile(path, maxSecretBytes)
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		s.fault(v.at, v.path, "cannot read the secret "+path+": "+reason(err), "")
	case text == "":
		s.fault(v.at, v.path, "the secret "+path+" is empty", "write the secret into it, in one line")
	case !isOneWord(text):
		s.fault(v.at, v.path, "the secret "+path+" is not one word of printable ASCII", "write the secret into it, in one line")
	default:
		return text
	}
	return ""
}

// isOneWord reports whether a secret can be sent in a field.
func isOneWord(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return isControl(r) || r == ' ' || r >= 0x80 })
}

func buildLimits(l *Limits, v *value) {
	set(&l.Connections, v, "connections")
	set(&l.ConnectionsPerIP, v, "connections_per_ip")
	set(&l.HeaderTime, v, "header_time")
	set(&l.Idle, v, "idle")
	set(&l.Requests, v, "requests")
	set(&l.MinRate, v, "min_rate")
	set(&l.Fields, v, "fields")
	set(&l.FieldBytes, v, "field_bytes")
	set(&l.Target, v, "target")
	set(&l.Body, v, "body")
}

func buildLog(l *Log, v *value) {
	set(&l.Access, v, "access")
	setWord(&l.Format, v, "format", "json", "combined")
	level := ""
	set(&level, v, "level")
	switch level {
	case "debug":
		l.Level = slog.LevelDebug
	case "warn":
		l.Level = slog.LevelWarn
	case "error":
		l.Level = slog.LevelError
	}
}

// buildSite makes the typed site of a site file.
func (l *loader) buildSite(v *value) *Site {
	out := defaultSite()
	out.File = v.source.file
	set(&out.Name, v, "site")
	for _, alias := range aliases(v) {
		if host, ok := alias.scalar.(string); ok {
			out.Aliases = append(out.Aliases, host)
		}
	}
	out.TLS = v.source.buildTLS(v.get("tls"))
	buildOrigin(&out.Origin, v.get("origin"))
	l.buildCache(v.source, &out.Cache, v.get("cache"))
	buildCompress(&out.Compress, v.get("compress"))
	headers := v.get("headers")
	out.Headers.Request = v.source.buildFields(headers.get("request"))
	out.Headers.Response = v.source.buildFields(headers.get("response"))
	setWord(&out.RedirectToHTTPS, v, "redirect_to_https", "auto", "true", "false")
	out.Purge = l.buildPurge(v.source, v.get("purge"))
	return &out
}

// buildTLS reads the mode, and tries the files where there are some: a certificate that cannot be used is found here and not
// by the first client.
func (s *source) buildTLS(v *value) TLS {
	out := TLS{Mode: TLSAuto}
	if v == nil {
		return out
	}
	if v.word {
		out.Mode = pick[TLSMode](v.scalar.(string), "auto", "off")
		return out
	}
	out.Mode = TLSFiles
	set(&out.Cert, v, "cert")
	set(&out.Key, v, "key")
	cert, certOK := s.readPEM(v.get("cert"))
	key, keyOK := s.readPEM(v.get("key"))
	if !certOK || !keyOK {
		return out
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		s.fault(v.at, v.path, unusablePair(err), pairHint)
	}
	return out
}

func (s *source) readPEM(v *value) ([]byte, bool) {
	if v == nil {
		return nil, false
	}
	path, ok := v.scalar.(string)
	if !ok {
		return nil, false
	}
	data, err := readFile(path, maxFileBytes)
	if err != nil {
		s.fault(v.at, v.path, "cannot read "+path+": "+reason(err), "")
	}
	return data, err == nil
}

func buildOrigin(o *Origin, v *value) {
	if v == nil {
		return
	}
	for _, url := range v.texts() { // a URL or a list of URLs
		u := defaultUpstream()
		u.URL = url
		o.Upstreams = append(o.Upstreams, u)
	}
	if upstreams := v.get("upstreams"); upstreams != nil {
		for _, item := range upstreams.items {
			u := defaultUpstream()
			set(&u.URL, item, "url")
			set(&u.Weight, item, "weight")
			o.Upstreams = append(o.Upstreams, u)
		}
	}
	if host := v.get("host"); host != nil && host.scalar != nil {
		o.Host, o.HostName = hostMode(host.scalar.(string), host.word)
	}
	set(&o.Connections, v, "connections")
	t := v.get("timeouts")
	set(&o.Timeouts.Connect, t, "connect")
	set(&o.Timeouts.TLS, t, "tls")
	set(&o.Timeouts.Header, t, "header")
	set(&o.Timeouts.Idle, t, "idle")
	set(&o.Timeouts.Total, t, "total")
}

// hostMode tells the words of origin.host from a name.
func hostMode(text string, isWord bool) (HostMode, string) {
	if !isWord {
		return HostName, text
	}
	return pick[HostMode](text, "upstream", "site", "client"), ""
}

// buildFields reads one direction of headers. What is set and removed at once would be a riddle to whoever reads it next.
func (s *source) buildFields(v *value) FieldRules {
	var out FieldRules
	if remove := v.get("remove"); remove != nil {
		out.Remove = remove.texts()
	}
	set := v.get("set")
	if set == nil {
		return out
	}
	for _, f := range set.fields {
		text, _ := f.value.scalar.(string)
		out.Set = append(out.Set, Field{f.name, text})
		if contains(out.Remove, f.name) {
			s.fault(f.at, f.value.path, f.name+" is set here and removed as well", "setting a field replaces it; take it out of remove")
		}
	}
	return out
}

// Diff names the keys that differ between two configurations and cannot change while a node runs, sorted. Empty means that
// new can take old's place without a restart.
func Diff(old, new *Node) []string {
	var out []string
	if old.Name != new.Name {
		out = append(out, "node.name")
	}
	if old.State != new.State && !(old.State == old.Store.state() && new.State == new.Store.state()) {
		out = append(out, "node.state")
	}
	if old.Listen.Admin != new.Listen.Admin {
		out = append(out, "listen.admin")
	}
	if old.Listen.AdminToken != new.Listen.AdminToken {
		out = append(out, "listen.admin_token_file")
	}
	if old.Store.RAM != new.Store.RAM {
		out = append(out, "store.ram")
	}
	if !slices.Equal(old.Store.Disks, new.Store.Disks) {
		out = append(out, disksKey(old.Store.Disks, new.Store.Disks))
	}
	sort.Strings(out)
	return out
}
