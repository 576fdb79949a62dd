package config

import (
	"fmt"
	"strings"
	"time"
)

// expand replaces ${NAME} in a scalar by what the environment says; "$${" stands for "${" itself.
func (c *checker) expand(n *node, path string) (string, bool) {
	if !strings.Contains(n.text, "${") || c.later > 0 {
		return n.text, true
	}
	var b strings.Builder
	rest, ok := n.text, true
	for {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String(), ok
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString("{")
			rest = after
			continue
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			c.fault(n.at, path, quote(n.text)+" holds no whole variable", "write ${NAME}; $${ stands for ${ itself")
			return "", false
		}
		value, isSet := "", false
		if c.env != nil {
			value, isSet = c.env(name)
		}
		if !isSet {
			c.fault(n.at, path, "the variable "+name+" is not set", "set it where perigee is started; $${ stands for ${ itself")
			ok = false
		}
		b.WriteString(value)
		rest = tail
	}
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// isReference reports whether a text is one variable and nothing else.
func isReference(s string) bool {
	inner, ok := strings.CutPrefix(s, "${")
	name, closed := strings.CutSuffix(inner, "}")
	return ok && closed && isVariable(name)
}

// literalSecret refuses a secret that stands in the file itself, where backups and repositories find it.
func (c *checker) literalSecret(n *node, path string) {
	c.fault(n.at, path, "a secret does not stand in the file itself",
		`name a variable that holds it, as in secret: "${CMS_TOKEN}", or a file: secret_file: cms.token`)
}

// strike takes such secrets out of what is shown of the file, before any problem of their block is.
func (c *checker) strike(k *key, n *node) {
	for _, e := range n.entries {
		value, child := e.value, k.child(e.name)
		if child == nil || child.kind != kindVariable || value.form != formScalar || isReference(value.text) {
			continue
		}
		if at := value.at; at.line >= 1 && at.line <= len(c.lines) {
			line := []rune(c.lines[at.line-1])
			from := min(at.col-1, len(line))
			if value.quoted {
				from = min(from+1, len(line))
			}
			to := min(from+len([]rune(value.text)), len(line))
			c.lines[at.line-1] = string(line[:from]) + strings.Repeat("*", to-from) + string(line[to:])
		}
	}
}

// parseHeldSecret reads what a variable holds. No message repeats it.
func parseHeldSecret(s string) (any, *fault) {
	text := strings.TrimRight(s, "\r\n")
	if text == "" {
		return nil, faultf("make one with: "+makeToken, "the secret is empty")
	}
	if !isOneWord(text) {
		return nil, faultf("make one with: "+makeToken, "the secret is not one word of printable ASCII")
	}
	return text, nil
}

// amount is a number of any kind on one scale.
func amount(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	case time.Duration:
		return float64(v)
	case rate:
		return float64(v.n) / v.per.Seconds()
	}
	return 0
}

// sizeText writes bytes as the files do, in the largest binary unit that divides them.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return fmt.Sprintf("%d%s", n, units[i])
}
