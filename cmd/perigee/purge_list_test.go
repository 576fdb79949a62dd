package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perigee/purge"
)

func TestParseList(t *testing.T) {
	t.Parallel()
	text := "\ufeff# comment\n\nhttps://a.example/x#y\r\n  /path?a=b c \nHTTP://b.example\ntag:item-1\ntag: spaced item\nprefix:/a\nprefix:a.example/b\nhost:*.a.example\nurl:/tag:x\n/last"
	want := []string{
		"3 urls https://a.example/x#y", "4 urls /path?a=b c", "5 urls HTTP://b.example", "6 tags item-1", "7 tags spaced item",
		"8 prefixes /a", "9 prefixes a.example/b", "10 hosts *.a.example", "11 urls /tag:x", "12 urls /last",
	}
	items, err := parseList(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, each := range items {
		got = append(got, fmt.Sprintf("%d %s %s", each.line, each.kind, each.value))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestParseListRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a":                                     `line 1: "a" is neither`,
		"/a\ntag:":                              "line 2: ",
		"/a\n\ntag:  \n":                        "line 3: ",
		"ftp://a.example/":                      "line 1: ",
		"\x00":                                  "line 1: ",
		"/a\n/" + strings.Repeat("b", mostLine): fmt.Sprintf("line 2: longer than %d bytes", mostLine),
		strings.Repeat("\n", mostLines+1):       fmt.Sprintf("more than %d lines", mostLines),
	} {
		if _, err := parseList(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseList(%.40q…): %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("# x\n/a\ntag:b\r\nprefix:/c\nhost:d\nurl:/e\nhttps://f.example/\n"))
	f.Add([]byte("\ufeff/a"))
	f.Add([]byte("tag:\n"))
	f.Add([]byte("/a\x00\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		items, err := parseList(bytes.NewReader(text))
		if err != nil {
			return
		}
		lines, last := strings.Split(string(text), "\n"), 0
		for _, item := range items {
			if item.line <= last || item.line > len(lines) {
				t.Fatalf("%q: item %+v comes after line %d", text, item, last)
			}
			if last = item.line; item.value == "" || !strings.Contains(lines[last-1], item.value) {
				t.Fatalf("%q: item %+v is not of its line %q", text, item, lines[last-1])
			}
		}
	})
}

func TestBatchesOf(t *testing.T) {
	t.Parallel()
	items := func(n, size int, sites ...string) (all []purgeItem) {
		for i := range n {
			all = append(all, purgeItem{kind: itemURL, value: "/" + strings.Repeat("<", size), site: sites[i%len(sites)], line: i + 1})
		}
		return all
	}
	cases := []struct {
		name  string
		items []purgeItem
		want  []string // site, number, first line
	}{
		{"none", nil, nil},
		{"one", items(1, 1, "a"), []string{"a 1 from 1"}},
		{"as many as fit", items(purge.MaxItems, 1, "a"), []string{"a 500 from 1"}},
		{"one more", items(purge.MaxItems+1, 1, "a"), []string{"a 500 from 1", "a 1 from 501"}},
		{"two sites in turn", items(600, 1, "a", "b"), []string{"a 250 from 1", "b 250 from 2", "a 50 from 501", "b 50 from 502"}},
		{"large ones", items(120, 16<<10-1, "a"), []string{"a 59 from 1", "a 59 from 60", "a 2 from 119"}},
		{"one too large for any order", items(2, 2<<20, "a"), []string{"a 1 from 1", "a 1 from 2"}},
	}
	for _, c := range cases {
		var got []string
		for _, batch := range batchesOf(c.items) {
			got = append(got, fmt.Sprintf("%s %d from %d", batch.site, len(batch.items), firstLine([]purgeBatch{batch})))
			body, err := (&purgeFlags{}).body(batch)
			if err != nil || len(body) > 1<<20 && len(batch.items) > 1 {
				t.Errorf("%s: a body of %d bytes, %v", c.name, len(body), err)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestPurgeLocate(t *testing.T) {
	t.Parallel()
	batch := purgeBatch{items: []purgeItem{
		{kind: itemURL, value: "u0"}, {kind: itemTag, value: "t0"}, {kind: itemURL, value: "u1"},
	}}
	for at, want := range map[string]string{
		"urls[0]": "u0", "urls[1]": "u1", "tags[0]": "t0", "urls[2]": "", "tags[-1]": "", "hosts[0]": "", "urls": "", "": "", "urls[x]": "",
	} {
		if got, found := batch.locate(at); got.value != want || found != (want != "") {
			t.Errorf("locate(%q) = %q, %t; want %q", at, got.value, found, want)
		}
	}
}

func TestFirstLineIsTheLeastOfThoseLeft(t *testing.T) {
	t.Parallel()
	batches := []purgeBatch{
		{items: []purgeItem{{line: 0}, {line: 1}, {line: 3}}}, {items: []purgeItem{{line: 2}, {line: 4}}}, {items: []purgeItem{{line: 0}}},
	}
	for i, want := range []int{1, 2, 0, 0} {
		if got := firstLine(batches[i:]); got != want {
			t.Errorf("of the batches from %d on: line %d, want %d", i, got, want)
		}
	}
}

func TestPurgeCounting(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0 tags": counting(0, "tag"), "1 prefix": counting(1, "prefix"), "2 prefixes": counting(2, "prefix"), "3 URLs": counting(3, "URL"),
	} {
		if got != want {
			t.Errorf("counting = %q, want %q", got, want)
		}
	}
}
