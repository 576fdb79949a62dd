// The stories of testdata/script run here: each is a testscript file that starts
// the real command, with real sockets on the loopback interface, and looks at it
// from outside. See github.com/rogpeppe/go-internal/testscript for the language.
//
// A story that has the comment "# over every wire" runs three times: in clear, and
// over TLS with HTTP/1.1 and with HTTP/2 ([wire:http1], [wire:tls1], [wire:tls2]). Elsewhere everything is in clear unless
// the story says otherwise. Commands of ours beside testscript's own:
//
//	origin [-tls] NAME [HOST…]   starts an internal/testorigin; its URL is $NAME. With -tls it has a certificate for
//	                             HOST… (127.0.0.1), which perigees started later trust
//	stop-origin NAME             closes it and its connections; start-origin NAME opens it again, at the same address
//	script PATH QUERY            has the origin answer PATH as QUERY says (testorigin's doc.go); unscript PATH
//	hold PATH, release PATH      the origin keeps its answers for PATH back, or lets them go
//	waiting PATH N               waits until it holds N of them
//	gate PATH [Name: value…]     the origin answers PATH with these fields, then what emit gives:
//	emit [-bytes N|-end|-abort] PATH [TEXT]
//	hits PATH N                  the origin has been asked for PATH (with query, if PATH has one) N times; "all" is any path
//	not-modified PATH N          it has answered so many 304s
//	asked PATH REGEXP            its last request for PATH, as /echo shows it, matches; ! asked: does not
//	                             (these speak of the first origin; -o NAME, first, of another)
//
//	start perigee ARGS…          starts perigee in the background, on free ports where ARGS name none, and sets $EDGE
//	                             (the URL for this story's wire), $EDGETLS, $ADDR and $ADDRTLS (host:port), $ADMIN
//	start -as NAME perigee ARGS… starts another; $NAME is its URL in clear. No other command speaks of it
//	signal SIG                   sends HUP, INT, TERM or KILL; wait-exit CODE waits for its end: then stdout and stderr are its own;
//	                             wait-exit killed for one that a signal ended
//	exits CODE perigee ARGS…     runs it in the foreground; stdout and stderr are its own
//	log REGEXP                   waits until its stderr matches; ! log: does not match now
//
//	get [FLAGS] URL              one request on a connection of its own. Prints the head, and interim
//	                             responses as "(103): Link: …". Flags: -H 'Name: value', -M method,
//	                             -d body, -h2, -h1, -from address, -ca file, -sni name, -o file (the body),
//	                             -cut (the body must end before its end). ! get: no response at all
//	parallel N get …             N at once; all answers must be equal. Prints how often which head line came
//	begin NAME [N] get …         the same in the background; end NAME waits for it
//	status N, field NAME REGEXP, body REGEXP      what the last answer had; ! field NAME: it had no such field
//	open NAME get …              begins one request in the background: head NAME waits for its head, read NAME TEXT|N until
//	                             so much of its body has come, rest NAME for its end, leave NAME hangs up
//	dial NAME URL                a bare connection: send NAME TEXT (\r\n are escapes; -file FILE), expect NAME REGEXP, eof NAME
//
//	wait-for [-H …] URL REGEXP   asks until status line and body match; wait-for -gone URL until nothing answers
//	wait-file FILE REGEXP        reads until it matches
//	metric REGEXP N              waits until the series that match REGEXP sum up to N
//	json FILE PATH=VALUE…        FILE (or stdout) is JSON with these values; PATH~REGEXP matches, PATH@N counts
//	logged FILE NAME=VALUE…      waits for a line of JSON with all of these; NAME~REGEXP, NAME! = absent
//	flip GLOB                    flips a bit in the middle of the one file that fits
//	flip-text GLOB TEXT          flips a bit in the first TEXT in the files that fit, when one of them has it
//	flip-at GLOB OFFSET          flips a bit at that place of the first file that fits
//	gunzip FILE OUT              writes what FILE holds in gzip to OUT
//	cert NAME HOST…              writes NAME.pem and NAME.key
//	places FILE PREFIX=CC…       writes a database of countries, in the format of the published ones
//	freeport VAR                 sets VAR to a port that was free
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"perigee/internal/testgeo"
	"perigee/internal/testorigin"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"perigee": func() { os.Exit(run(os.Args[1:])) }})
}

// patience is how long a story waits for what must come. It is no measure of
// anything: a story that passes waits for next to nothing.
const patience = 20 * time.Second

// wires are the ways in which a client speaks to perigee.
var wires = []string{"http1", "tls1", "tls2"}

func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	byWire := make(map[string][]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("# ")) {
			t.Errorf("%s does not begin with a comment that says what it shows", file)
		}
		for _, wire := range wires {
			if wire == "http1" || bytes.Contains(text, []byte("\n# over every wire\n")) {
				byWire[wire] = append(byWire[wire], file)
			}
		}
	}
	for _, wire := range wires {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Files: byWire[wire], Cmds: storyCommands(), RequireUniqueNames: true,
				Condition: func(name string) (bool, error) {
					want, ok := strings.CutPrefix(name, "wire:")
					if !ok {
						return false, fmt.Errorf("unknown condition %q", name)
					}
					return want == wire, nil
				},
				Setup: func(env *testscript.Env) error { return setUp(env, wire) },
			})
		})
	}
}

// storyCommands are the commands that the comment on top of this file explains.
func storyCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := make(map[string]func(*testscript.TestScript, bool, []string))
	for name, do := range map[string]func(*story, bool, []string){
		"origin": (*story).origin, "stop-origin": (*story).stopOrigin, "start-origin": (*story).startOrigin,
		"script": (*story).script, "unscript": (*story).unscript, "hold": (*story).hold, "release": (*story).release,
		"waiting": (*story).waiting, "gate": (*story).gate, "emit": (*story).emit, "hits": (*story).hits,
		"not-modified": (*story).notModified, "asked": (*story).asked,
		"start": (*story).start, "signal": (*story).signal, "wait-exit": (*story).waitExit, "log": (*story).log,
		"exits": (*story).exits,
		"get":   (*story).get, "parallel": (*story).parallel, "begin": (*story).begin, "end": (*story).end,
		"status": (*story).status, "field": (*story).field, "body": (*story).body,
		"open": (*story).open, "head": (*story).head, "read": (*story).read, "rest": (*story).rest, "leave": (*story).leave,
		"dial": (*story).dial, "send": (*story).send, "expect": (*story).expect, "eof": (*story).eof,
		"wait-for": (*story).waitFor, "wait-file": (*story).waitFile, "metric": (*story).metric, "json": (*story).json,
		"logged": (*story).logged, "places": (*story).places, "flip": (*story).flip, "flip-text": (*story).flipText, "flip-at": (*story).flipAt, "gunzip": (*story).gunzip, "cert": (*story).cert, "freeport": (*story).freePort,
	} {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(storyKey{}).(*story)
			s.ts = ts
			if neg && !negatable[name] {
				ts.Fatalf("%s cannot be negated", name)
			}
			do(s, neg, args)
		}
	}
	return commands
}

var negatable = map[string]bool{"get": true, "field": true, "body": true, "asked": true, "log": true}

// storyKey is where a story's state hangs on its script.
type storyKey struct{}

// story is the state of one running story.
type story struct {
	ts    *testscript.TestScript
	tb    testing.TB
	wire  string
	vars  map[string]string // set by our commands, for perigee's environment
	roots []*tls.Certificate

	origins map[string]*servedOrigin
	gates   map[string]*gate
	first   string // name of the first origin

	process *process
	others  []*process // started with -as
	last    *answer
	streams map[string]*stream
	herds   map[string]chan herdResult
	wires   map[string]*bareConn
}

func setUp(env *testscript.Env, wire string) error {
	s := &story{
		tb:   env.T().(testing.TB), // testscript.Run promises that it is one
		wire: wire, vars: make(map[string]string), origins: make(map[string]*servedOrigin), gates: make(map[string]*gate),
		streams: make(map[string]*stream), herds: make(map[string]chan herdResult), wires: make(map[string]*bareConn),
	}
	env.Values[storyKey{}] = s
	scheme, via := "http", "1.1 perigee"
	switch wire {
	case "tls1":
		scheme = "https"
	case "tls2":
		scheme, via = "https", "2 perigee"
	}
	env.Setenv("SCHEME", scheme)
	env.Setenv("VIA", via)
	env.Setenv("WIRE", wire)
	env.Setenv("GORACE", raceOptions)
	t := env.T()
	env.Defer(func() {
		if fault := s.close(); fault != "" {
			t.Log(fault)
			t.FailNow()
		}
	})
	return nil
}

// close ends everything that the story began. Fault says what went wrong although
// every line of the story was satisfied.
func (s *story) close() (fault string) {
	for _, each := range s.streams {
		each.cancel()
	}
	for _, each := range s.wires {
		each.conn.Close()
	}
	for _, each := range s.gates {
		each.end(false)
	}
	for _, each := range s.origins {
		each.stop()
	}
	if s.process != nil {
		fault = s.process.close(s.ts)
	}
	for _, each := range s.others {
		if other := each.close(s.ts); fault == "" {
			fault = other
		}
	}
	return fault
}

// setenv sets a variable for the script and for the perigees that it starts.
func (s *story) setenv(name, value string) {
	s.vars[name] = value
	s.ts.Setenv(name, value)
}

// args takes the flags listed off args: a name ending in "=" has a value. What is
// left must be least to most arguments long; most < 0 = any number.
func (s *story) args(usage string, args []string, least, most int, flags ...string) (map[string][]string, []string) {
	got := make(map[string][]string)
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) > 1 {
		name, known := args[0][1:], false
		for _, flag := range flags {
			switch {
			case flag == name:
				got[name], args, known = append(got[name], "true"), args[1:], true
			case flag == name+"=" && len(args) > 1:
				got[name], args, known = append(got[name], args[1]), args[2:], true
			}
			if known {
				break
			}
		}
		if !known {
			s.ts.Fatalf("unknown flag -%s; usage: %s", name, usage)
		}
	}
	if len(args) < least || most >= 0 && len(args) > most {
		s.ts.Fatalf("usage: %s", usage)
	}
	return got, args
}

// poll asks done until it says yes, or fails the story with its last word.
func (s *story) poll(what string, done func() (ok bool, word string)) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, word := done()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			s.ts.Fatalf("%s: not within %v; at last: %s", what, patience, word)
		}
	}
}

// buffer is text that grows while others read it.
type buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// places writes a database that says in which country networks are.
func (s *story) places(_ bool, args []string) {
	_, args = s.args("places FILE PREFIX=CC…", args, 2, -1)
	countries := make(map[string]string)
	for _, each := range args[1:] {
		prefix, country, found := strings.Cut(each, "=")
		if !found {
			s.ts.Fatalf("%q is not PREFIX=CC", each)
		}
		countries[prefix] = country
	}
	database, err := os.ReadFile(testgeo.Database(s.tb, countries))
	s.ts.Check(err)
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[0]), database, 0o600))
}

// cert writes a certificate and its key.
func (s *story) cert(_ bool, args []string) {
	_, args = s.args("cert NAME HOST…", args, 2, -1)
	certificate, _ := testorigin.Certificate(args[1:]...)
	cert, key, err := encodePair(&certificate)
	s.ts.Check(err)
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[0]+".pem"), cert, 0o600))
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[0]+".key"), key, 0o600))
}

// flip damages a file as a disk does.
func (s *story) flip(_ bool, args []string) {
	_, args = s.args("flip GLOB", args, 1, 1)
	files, err := filepath.Glob(s.ts.MkAbs(args[0]))
	s.ts.Check(err)
	if len(files) != 1 {
		s.ts.Fatalf("%s are %d files, want one", args[0], len(files))
	}
	text, err := os.ReadFile(files[0])
	s.ts.Check(err)
	text[len(text)/2] ^= 1
	s.ts.Check(os.WriteFile(files[0], text, 0o600))
}

func (s *story) number(text string) int {
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		s.ts.Fatalf("%q is not a number", text)
	}
	return n
}
