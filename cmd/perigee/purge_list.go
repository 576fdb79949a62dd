package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"perigee/httpcache"
	"perigee/purge"
)

const (
	// mostLines is the longest list.
	mostLines = 1_000_000
	// mostLine is the longest line, in bytes: a URL is at most 16 KiB long.
	mostLine = 64 << 10
	// mostBody is the longest body of an order; the node takes 1 MiB.
	mostBody = 960 << 10
)

// itemKind is what an item names. Its values are the fields of an order in which they
// stand.
type itemKind string

const (
	itemURL    itemKind = "urls"
	itemPrefix itemKind = "prefixes"
	itemTag    itemKind = "tags"
	itemHost   itemKind = "hosts"
	itemAll    itemKind = "everything"
)

// purgeItem is one thing to purge.
type purgeItem struct {
	kind  itemKind
	value string
	site  string
	line  int // of the list, from 1; 0 = it was a flag
}

// at says where an item came from.
func (i *purgeItem) at() string {
	if i.line > 0 {
		return fmt.Sprintf("line %d", i.line)
	}
	switch i.kind {
	case itemURL:
		return "--url"
	case itemPrefix:
		return "--prefix"
	case itemTag:
		return "--tag"
	case itemHost:
		return "--host"
	case itemAll:
	}
	return "--all"
}

// items lists what flags and list name. Its errors are of whoever wrote those.
func (f *purgeFlags) items(stdin io.Reader) ([]purgeItem, error) {
	var items []purgeItem
	for _, each := range []struct {
		kind   itemKind
		values []string
	}{{itemURL, f.urls}, {itemPrefix, f.prefixes}, {itemTag, f.tags}, {itemHost, f.hosts}} {
		for _, value := range each.values {
			items = append(items, purgeItem{kind: each.kind, value: value})
		}
	}
	if f.isFile {
		listed, err := f.readList(stdin)
		if err != nil {
			return nil, err
		}
		items = append(items, listed...)
	}
	switch {
	case f.all && (len(items) > 0 || f.isFile):
		return nil, usage("--all stands alone: it covers all of the site")
	case f.all:
		items = []purgeItem{{kind: itemAll}}
	case len(items) == 0 && f.isFile:
		return nil, usage("--file %s: the list is empty; nothing was purged", f.file)
	case len(items) == 0:
		return nil, usage("purge what? --url, --prefix, --tag, --host, --all or --file")
	}
	for i := range items {
		var err error
		if items[i].site, err = f.siteOf(&items[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// siteOf is the site of an item: the one of --site, else the host that it names.
func (f *purgeFlags) siteOf(item *purgeItem) (string, error) {
	if f.site != "" {
		return f.site, nil
	}
	host, names := "", false
	switch item.kind {
	case itemURL:
		if scheme, after, found := strings.Cut(item.value, "://"); found && !strings.ContainsAny(scheme, "/?#") {
			host, names = after, true
			if end := strings.IndexAny(after, "/?#"); end >= 0 {
				host = after[:end]
			}
		}
	case itemPrefix:
		host, _, _ = strings.Cut(item.value, "/")
		names = host != ""
	case itemHost:
		host, names = item.value, !strings.HasPrefix(item.value, "*.")
	case itemTag, itemAll:
	}
	if !names {
		return "", usage("%s does not say of which site: --site S", strings.TrimSpace(item.at()+" "+item.value))
	}
	canonical, ok := httpcache.CanonicalHost(host)
	if !ok {
		return "", usage("%s: %q in %q is not a host", item.at(), host, item.value)
	}
	return canonical, nil
}

// readList reads the list of --file.
func (f *purgeFlags) readList(stdin io.Reader) ([]purgeItem, error) {
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		defer file.Close()
		stdin = file
	}
	items, err := parseList(stdin)
	if err != nil {
		return nil, usage("--file %s: %w; nothing was purged", f.file, err)
	}
	return items, nil
}

// parseList reads a list, one item a line.
func parseList(r io.Reader) ([]purgeItem, error) {
	var items []purgeItem
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, mostLine)
	n := 0
	for lines.Scan() {
		if n++; n > mostLines {
			return nil, fmt.Errorf("more than %d lines; send several lists", mostLines)
		}
		text := lines.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // as some editors begin their files
		}
		text = strings.Trim(text, " \t\r")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		item, ok := parseLine(text)
		if !ok {
			return nil, fmt.Errorf("line %d: %.80q is neither a URL, a path, nor tag:T, prefix:P or host:H", n, text)
		}
		item.line = n
		items = append(items, item)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: longer than %d bytes", n+1, mostLine)
	} else if err != nil {
		return nil, err
	}
	return items, nil
}

// parseLine reads one item.
func parseLine(text string) (item purgeItem, ok bool) {
	for _, each := range []struct {
		word string
		kind itemKind
	}{{"tag:", itemTag}, {"prefix:", itemPrefix}, {"host:", itemHost}, {"url:", itemURL}} {
		if value, found := strings.CutPrefix(text, each.word); found {
			value = strings.TrimLeft(value, " \t")
			return purgeItem{kind: each.kind, value: value}, value != ""
		}
	}
	lower := strings.ToLower(text[:min(len(text), len("https://"))])
	return purgeItem{kind: itemURL, value: text},
		strings.HasPrefix(text, "/") || strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
}

// purgeBatch is what one order purges.
type purgeBatch struct {
	site  string
	items []purgeItem
}

// batchesOf cuts items into orders: as many as an order takes, those of each site by
// themselves.
func batchesOf(items []purgeItem) []purgeBatch {
	var batches []purgeBatch
	for len(items) > 0 {
		n, size := 0, 0
		for n < min(len(items), purge.MaxItems) {
			if size += bodyBytes(items[n].value); size > mostBody && n > 0 {
				break
			}
			n++
		}
		batches = append(batches, bySite(items[:n])...)
		items = items[n:]
	}
	return batches
}

// bySite parts items by their sites, in the order in which those first come.
func bySite(items []purgeItem) []purgeBatch {
	var batches []purgeBatch
	places := make(map[string]int)
	for _, item := range items {
		place, known := places[item.site]
		if !known {
			place = len(batches)
			places[item.site] = place
			batches = append(batches, purgeBatch{site: item.site})
		}
		batches[place].items = append(batches[place].items, item)
	}
	return batches
}

// bodyBytes is how long a value is in a body.
func bodyBytes(value string) int {
	text, err := plainJSON(value)
	if err != nil {
		return len(value)
	}
	return len(text) + len(",")
}

// plainJSON encodes v with "&" and the like as they are.
func plainJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// orderBody is the JSON of an order.
type orderBody struct {
	URLs        []string `json:"urls,omitempty"`
	IgnoreQuery bool     `json:"ignore_query,omitempty"`
	Prefixes    []string `json:"prefixes,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
	Everything  bool     `json:"everything,omitempty"`
	Soft        bool     `json:"soft,omitempty"`
	DryRun      bool     `json:"dry_run,omitempty"`
	Wait        string   `json:"wait,omitempty"`
}

// body is what is sent for a batch.
func (f *purgeFlags) body(batch purgeBatch) ([]byte, error) {
	values := func(kind itemKind) (all []string) {
		for _, item := range batch.items {
			if item.kind == kind {
				all = append(all, item.value)
			}
		}
		return all
	}
	o := orderBody{
		URLs: values(itemURL), Prefixes: values(itemPrefix), Tags: values(itemTag), Hosts: values(itemHost),
		Everything: values(itemAll) != nil, Soft: f.soft, DryRun: f.dryRun,
	}
	o.IgnoreQuery = f.ignoreQuery && o.URLs != nil
	if f.wait > 0 {
		o.Wait = f.wait.String()
	}
	return plainJSON(o)
}

// locate finds the item of which a problem speaks as "urls[3]".
func (b *purgeBatch) locate(at string) (purgeItem, bool) {
	field, number, _ := strings.Cut(strings.TrimSuffix(at, "]"), "[")
	index, err := strconv.Atoi(number)
	if err != nil {
		return purgeItem{}, false
	}
	for _, item := range b.items {
		if string(item.kind) != field {
			continue
		}
		if index == 0 {
			return item, true
		}
		index--
	}
	return purgeItem{}, false
}

// firstLine is the first line of the list among batches, 0 for none.
func firstLine(batches []purgeBatch) int {
	var lines []int
	for _, batch := range batches {
		for _, item := range batch.items {
			if item.line > 0 {
				lines = append(lines, item.line)
			}
		}
	}
	if lines == nil {
		return 0
	}
	return slices.Min(lines)
}
