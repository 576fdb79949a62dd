package httpcache

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A word that restricts counts wherever it stands alone, whatever stands around it,
// but in quotes that are closed or as the argument of another.
func FuzzRestrictiveWords(f *testing.F) {
	for _, around := range [][2]string{
		{"", ""}, {"max-age=60; ", ""}, {"", " max-age=60"}, {"max-age=60,", ";"}, {"a=b c\t", "\u00a0"}, {"(", ")"}, {"\v", "\x00,,"}, {"é,", "=1"},
	} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, behind string) {
		if strings.ContainsAny(before+behind, "\"\\'\n") || before != "" && (before[len(before)-1] == '=' || isTokenChar(before[len(before)-1])) ||
			behind != "" && isTokenChar(behind[0]) {
			t.Skip()
		}
		for word, want := range map[string]Refusal{"private": RefusedPrivate, "no-store": RefusedNoStore, "No-Cache": RefusedNoValidator} {
			line := before + word + behind
			if s, why := NewStored(&Rules{DefaultTTL: time.Hour}, NewRequest(get()), answer("Cache-Control: "+line)); s != nil && !s.noCache {
				t.Errorf("%q is stored, want %s, got %s", line, want, why)
			}
		}
	})
}

// What is too long to be read says nothing in favour of being stored.
func TestLongTargetedField(t *testing.T) {
	t.Parallel()
	fits := "max-age=60, a=\"" + strings.Repeat("x", maxTargetedBytes-len(`max-age=60, a=""`)) + `"`
	for _, test := range []struct {
		name, field, value string
		rules              Rules
		want               Refusal
	}{
		{"just", "CDN-Cache-Control", fits, Rules{}, Storable},
		{"too long", "CDN-Cache-Control", fits + " ", Rules{}, RefusedNoStore},
		{"private and too long", "CDN-Cache-Control", "private, " + fits, Rules{}, RefusedNoStore},
		{"no-store overridden", "CDN-Cache-Control", fits + " ", Rules{OverrideNoStore: true}, RefusedPrivate},
		{"ours", "Perigee-CDN-Cache-Control", fits + " ", Rules{}, RefusedNoStore},
	} {
		resp := answer(fmt.Sprintf("%s: %s", test.field, test.value), "Cache-Control: max-age=60")
		if _, why := NewStored(&test.rules, NewRequest(get()), resp); why != test.want {
			t.Errorf("%s, %d bytes: %s, want %s", test.name, len(test.value), why, test.want)
		}
	}
	resp := answer("Cache-Control: max-age=60")
	resp.Header["Cdn-Cache-Control"] = []string{fits, "b"}
	if _, why := NewStored(&Rules{}, NewRequest(get()), resp); why != RefusedNoStore {
		t.Errorf("too long in two lines: %s, want %s", why, RefusedNoStore)
	}
}
