package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// How long a token's secret is: beyond guessing, and within what is looked at of one that is sent.
const (
	minTokenBytes = 16
	maxTokenBytes = 4 << 10
)

// makeToken is a command that prints a good secret.
const makeToken = "openssl rand -hex 32"

// buildState reads the folder of what outlives the process. It is made at the start, but not over a file.
func (s *source) buildState(node *value) string {
	var out string
	set(&out, node, "state")
	if out == "" {
		return ""
	}
	if isFile(out) {
		v := node.get("state")
		s.fault(v.at, v.path, notFolder(out), folderHint)
	}
	return out
}

func (l *loader) buildAPI(v *value, listen Listen) API {
	var out API
	api := v.get("api")
	if api == nil {
		return out
	}
	hosts := api.get("hosts")
	if hosts != nil {
		out.Hosts = hosts.texts()
		for _, host := range hosts.items {
			l.apiHosts = append(l.apiHosts, claimed{v.source, host})
		}
	}
	out.TLS = v.source.buildTLS(api.get("tls"))
	if hosts != nil && len(listen.HTTPS) == 0 && !v.get("listen").isFlawed() {
		v.source.fault(hosts.at, hosts.path, "the API is served over TLS only, and listen opens no https", `add to listen: https: ":443"`)
	}
	return out
}

func (l *loader) buildPurge(s *source, v *value) Purge {
	var out Purge
	if ids := v.get("ids"); ids != nil {
		out.IDs = ids.texts()
		for _, id := range ids.items {
			l.ids = append(l.ids, claimed{s, id})
		}
	}
	if tokens := v.get("tokens"); tokens != nil {
		for _, item := range tokens.items {
			out.Tokens = append(out.Tokens, l.buildToken(s, item))
		}
	}
	return out
}

func (l *loader) buildToken(s *source, v *value) PurgeToken {
	out := defaultToken()
	set(&out.Name, v, "name")
	if scopes := v.get("scopes"); scopes != nil {
		for _, word := range scopes.texts() {
			if word == "soft-only" {
				out.SoftOnly = true
				continue
			}
			out.Scopes = append(out.Scopes, pick[Scope](word, "none", "url", "prefix", "tag", "host", "site", "all"))
		}
		if out.SoftOnly && len(out.Scopes) == 0 && !scopes.isFlawed() {
			s.fault(scopes.at, scopes.path, "soft-only narrows what other scopes allow, and there is none",
				"say what may be purged, for example: scopes: [url, tag, soft-only]")
		}
	}
	out.Secret, out.SecretFile = l.buildTokenSecret(s, v)
	if networks := v.get("networks"); networks != nil {
		for _, text := range networks.texts() {
			if network, err := netip.ParsePrefix(text); err == nil {
				out.Networks = append(out.Networks, network)
			}
		}
	}
	if expires := v.get("expires"); expires != nil {
		out.Expires, _ = expires.scalar.(time.Time)
	}
	if f := v.get("rate"); f != nil && f.scalar != nil {
		r := f.scalar.(rate)
		out.Rate = float64(r.n) / r.per.Seconds()
	}
	return out
}

// buildTokenSecret reads a token's secret from where it is and holds it against all others. No message repeats it.
func (l *loader) buildTokenSecret(s *source, v *value) (secret, file string) {
	fromFile, fromEnv := v.get("secret_file"), v.get("secret")
	from := fromFile
	switch {
	case fromFile == nil && fromEnv == nil:
		if !v.isFlawed() {
			s.fault(v.at, join(v.path, "secret_file"), "missing required key",
				`add it, for example: secret_file: cms.token; or a variable: secret: "${CMS_TOKEN}"`)
		}
		return "", ""
	case fromFile != nil && fromEnv != nil:
		s.fault(fromEnv.at, fromEnv.path, "secret_file names the secret already", "keep one of the two")
		return "", ""
	case fromEnv != nil:
		from = fromEnv
		secret, _ = fromEnv.scalar.(string)
	default:
		file, _ = fromFile.scalar.(string)
		secret = s.secret(fromFile, file)
	}
	if secret == "" { // which is reported
		return "", file
	}
	l.checkToken(s, from, secret)
	return secret, file
}

// checkToken reports a secret that can be guessed, or that opens something else already.
func (l *loader) checkToken(s *source, v *value, secret string) {
	first, taken := l.secrets[secret]
	switch {
	case len(secret) < minTokenBytes:
		s.fault(v.at, v.path, fmt.Sprintf("the secret has %d bytes; fewer than %d can be guessed", len(secret), minTokenBytes),
			"make one with: "+makeToken)
	case len(secret) > maxTokenBytes:
		s.fault(v.at, v.path, fmt.Sprintf("the secret has %d bytes, more than %d", len(secret), maxTokenBytes), "make one with: "+makeToken)
	case taken && first.file == s.file:
		s.fault(v.at, v.path, fmt.Sprintf("the secret is that of %d:%d already", first.at.line, first.at.col),
			"every token has its own; make one with: "+makeToken)
	case taken:
		s.fault(v.at, v.path, fmt.Sprintf("the secret is that of %s:%d:%d already", first.file, first.at.line, first.at.col),
			"a token opens one site, and not the operator's listener; make one with: "+makeToken)
	default:
		l.secrets[secret] = named{s.file, v.at}
	}
}

// claimed is a name with the file that claims it.
type claimed struct {
	source *source
	name   *value
}

func (c claimed) fault(message, hint string) {
	c.source.fault(c.name.at, c.name.path, message, hint)
}

// checkNames holds the names of the purge API against those of all sites, when these are known.
func (l *loader) checkNames() {
	for _, c := range l.apiHosts {
		host, _ := c.name.scalar.(string)
		if site, taken := l.hosts[host]; taken {
			c.fault(fmt.Sprintf("the host %s is a site's: %s:%d:%d", host, site.file, site.at.line, site.at.col),
				"give the API a host of its own, or take this one from the site")
		}
	}
	first := make(map[string]named)
	for _, c := range l.ids {
		id, _ := c.name.scalar.(string)
		by, taken := l.hosts[strings.ToLower(id)]
		if !taken || by.file == c.source.file {
			by, taken = first[id]
		}
		if taken {
			c.fault(fmt.Sprintf("%s is a name of another site: %s:%d:%d", id, by.file, by.at.line, by.at.col),
				"a purge must not meet the wrong site; choose another id")
			continue
		}
		first[id] = named{c.source.file, c.name.at}
	}
}
