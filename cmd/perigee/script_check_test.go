package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

func (s *story) waitFor(_ bool, args []string) {
	flags, args := s.args("wait-for [-gone] [-H …] URL [REGEXP]", args, 1, 2, "gone", "H=")
	var asked []string
	for _, line := range flags["H"] {
		asked = append(asked, "-H", line)
	}
	q := s.question(append(asked, args[0]))
	gone := flags["gone"] != nil
	if gone == (len(args) == 2) {
		s.ts.Fatalf("usage: wait-for URL REGEXP, or wait-for -gone URL")
	}
	var re *regexp.Regexp
	if !gone {
		re = s.regexp(args[1])
	}
	s.poll("wait-for", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a, err := q.answer(ctx)
		switch {
		case err != nil:
			return gone, err.Error()
		case gone:
			return false, a.status
		}
		text := strings.Join(a.lines(), "\n") + "\n\n" + string(a.body)
		return re.MatchString(text), text
	})
}

// metric sums up the series that match.
func (s *story) metric(_ bool, args []string) {
	_, args = s.args("metric REGEXP N", args, 2, 2)
	want, err := strconv.ParseFloat(args[1], 64)
	s.ts.Check(err)
	re := regexp.MustCompile("^" + args[0] + "$")
	q := s.question([]string{"-h1", s.ts.Getenv("ADMIN") + "/metrics"})
	s.poll("metric "+args[0], func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a, err := q.answer(ctx)
		if err != nil || a.code != 200 {
			return false, fmt.Sprint(err, a)
		}
		sum, found := 0.0, ""
		for line := range strings.Lines(string(a.body)) {
			name, text, _ := cutLast(strings.TrimSuffix(line, "\n"), " ")
			if value, err := strconv.ParseFloat(text, 64); err == nil && re.MatchString(name) {
				sum += value
				found += line
			}
		}
		return sum == want, fmt.Sprintf("%v, of\n%s", sum, found)
	})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

var condition = regexp.MustCompile(`(?s)^([^=~!@]+)([=~!@])(.*)$`)

// holds tells whether a JSON value has what want says, such as a.b=1 or a.b~^x.
func (s *story) holds(value any, want string) (bool, string) {
	parts := condition.FindStringSubmatch(want)
	if parts == nil {
		s.ts.Fatalf("%q is no condition", want)
	}
	got, has := dig(value, strings.Split(parts[1], "."))
	text := fmt.Sprint(got)
	if number, ok := got.(json.Number); ok {
		text = number.String()
	}
	switch parts[2][0] {
	case '!':
		return !has, text
	case '~':
		return has && s.regexp(parts[3]).MatchString(text), text
	case '@':
		list, _ := got.([]any)
		return has && strconv.Itoa(len(list)) == parts[3], text
	}
	return has && text == parts[3], text
}

// dig follows a path of names and indices.
func dig(value any, path []string) (any, bool) {
	for _, step := range path {
		switch at := value.(type) {
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(at) {
				return nil, false
			}
			value = at[i]
		default:
			return nil, false
		}
	}
	return value, true
}

func parseJSON(text []byte) (any, error) {
	var value any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more after the value")
	}
	return value, nil
}

func (s *story) json(_ bool, args []string) {
	_, args = s.args("json FILE PATH=VALUE…", args, 1, -1)
	text := s.ts.ReadFile(args[0])
	value, err := parseJSON([]byte(text))
	if err != nil {
		s.ts.Fatalf("%s: %v\n%s", args[0], err, text)
	}
	for _, want := range args[1:] {
		if ok, got := s.holds(value, want); !ok {
			s.ts.Fatalf("%s: %s is not so: %s\n%s", args[0], want, got, text)
		}
	}
}

// logged waits for a line of JSON. Every whole line must parse.
func (s *story) logged(_ bool, args []string) {
	_, args = s.args("logged FILE NAME=VALUE…", args, 2, -1)
	s.poll("logged", func() (bool, string) {
		text := s.logText(args[0])
		lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
		lines.Buffer(nil, 1<<20)
	line:
		for lines.Scan() {
			value, err := parseJSON(lines.Bytes())
			if err != nil {
				s.ts.Fatalf("%s: not JSON: %v\n%s", args[0], err, lines.Text())
			}
			for _, want := range args[1:] {
				if ok, _ := s.holds(value, want); !ok {
					continue line
				}
			}
			return true, ""
		}
		return false, string(text)
	})
}

// logText is the access log's text: a file's, or what perigee wrote to stdout.
func (s *story) logText(name string) []byte {
	if name == "stdout" {
		return []byte(s.running().stdout.String())
	}
	text, err := os.ReadFile(s.ts.MkAbs(name))
	if err != nil && !os.IsNotExist(err) {
		s.ts.Fatalf("%v", err)
	}
	return text
}

func (s *story) gunzip(_ bool, args []string) {
	_, args = s.args("gunzip FILE OUT", args, 2, 2)
	packed, err := gzip.NewReader(strings.NewReader(s.ts.ReadFile(args[0])))
	s.ts.Check(err)
	text, err := io.ReadAll(io.LimitReader(packed, maxBody))
	s.ts.Check(err)
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[1]), text, 0o600))
}
