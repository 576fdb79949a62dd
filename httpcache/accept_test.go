package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// runAccept runs a row of accept.txt.
func runAccept(t *testing.T, r row) {
	offered := []string{"br", "zstd", "gzip"}
	var lines []string
	transform, field := false, CacheControlField
	for _, item := range r.given {
		if rest, ok := strings.CutPrefix(item, "offer"); ok {
			offered = strings.Fields(rest)
			continue
		}
		if rest, ok := strings.CutPrefix(item, "transformable"); ok {
			transform = true
			item = strings.TrimSpace(rest)
			if rest, ok := strings.CutPrefix(item, "CDN-Cache-Control "); ok {
				field, item = cdnCacheControlField, rest
			}
		}
		if item != "absent" && item != "" {
			lines = append(lines, strings.Trim(item, "`"))
		}
	}
	want := strings.Join(r.want, " ")
	if transform {
		if got := Transformable(http.Header{field: lines}); got != (want == "yes") {
			t.Errorf("Transformable(%s: %q) = %t, want %s", field, lines, got, want)
		}
		return
	}
	got, ok := PreferredCoding(lines, offered)
	if !ok {
		got = "none"
	}
	if got != want {
		t.Errorf("PreferredCoding(%q, %q) = %q, want %q", lines, offered, got, want)
	}
}

func TestPreferredCodingAllocatesNothing(t *testing.T) {
	lines, offered := []string{"gzip, deflate;q=0.5, br, zstd"}, []string{"br", "zstd", "gzip"}
	if n := testing.AllocsPerRun(100, func() { PreferredCoding(lines, offered) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// plainPreference is the rule written down plainly: all members into a table first.
func plainPreference(lines, offered []string) (string, bool) {
	weights := make(map[string]float64)
	for _, line := range lines {
		for _, member := range plainMembers(line) {
			parts := strings.Split(member, ";")
			name := strings.ToLower(strings.Trim(parts[0], " \t"))
			if name == "x-gzip" {
				name = "gzip"
			}
			weight := 1.0
			for _, part := range parts[1:] {
				key, value, _ := strings.Cut(part, "=")
				if strings.ToLower(strings.Trim(key, " \t")) == "q" {
					weight = plainWeight(strings.Trim(value, " \t"))
					break
				}
			}
			if known, ok := weights[name]; !ok || weight < known {
				weights[name] = weight
			}
		}
	}
	best, chosen := 0.0, ""
	for _, each := range offered {
		weight, ok := weights[each]
		if !ok {
			weight = weights["*"]
		}
		if weight > best {
			best, chosen = weight, each
		}
	}
	return chosen, chosen != "" && weights["identity"] <= best
}

// plainMembers splits at commas outside of quoted strings.
func plainMembers(line string) []string {
	members := []string{""}
	quoted, escaped := false, false
	for _, c := range []byte(line) {
		last := &members[len(members)-1]
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			members = append(members, "")
			continue
		}
		*last += string([]byte{c})
	}
	return members
}

func plainWeight(s string) float64 {
	whole, decimals, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(decimals) > 3 || strings.Trim(decimals, "0123456789") != "" {
		return 0
	}
	weight, err := strconv.ParseFloat(whole+"."+decimals+"0", 64)
	if err != nil || weight > 1 {
		return 0
	}
	return weight
}

func FuzzPreferredCoding(f *testing.F) {
	for _, seed := range []string{
		"", "gzip, deflate, br, zstd", "br;q=0.5\ngzip;q=1.000", "*;q=0.1, identity;q=0.2", "identity;q=0, *;q=0", "x-gzip;q=0.3,GZIP",
		`"br", gzip;a="x, zstd;q=1"`, "br;q=1.1, zstd;q=0.1234, gzip;q", "br ; q = 0.5 ,,;q=1", `gzip;x="\",br"`,
	} {
		f.Add(seed)
	}
	offers := [][]string{{"br", "zstd", "gzip"}, {"gzip", "br"}, {"zstd"}, nil}
	f.Fuzz(func(t *testing.T, text string) {
		lines := split(text)
		for _, offered := range offers {
			got, ok := PreferredCoding(lines, offered)
			want, wantOK := plainPreference(lines, offered)
			if ok != wantOK || ok && got != want {
				t.Errorf("PreferredCoding(%q, %q) = %q, %t; want %q, %t", lines, offered, got, ok, want, wantOK)
			}
			// Upstreams are told the normal form: what they may not send, we do not either.
			if accepted := strings.Split(NormalAcceptEncoding(lines), ", "); ok && !slices.Contains(accepted, got) {
				t.Errorf("%q: %q is preferred and not accepted", lines, got)
			}
		}
	})
}
