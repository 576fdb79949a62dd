package edge

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
)

// tally counts the cases of the public checks, by kind.
type tally struct {
	mu             sync.Mutex // guards what follows
	passed, total  map[string]int
	own, ownPassed int
	yes, no        int
	differ         int
}

func (t *tally) count(c *behaviour, passed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.public == "-" {
		t.own++
		if passed {
			t.ownPassed++
		}
		return
	}
	t.total[c.kind]++
	if c.differs {
		t.differ++
	}
	if !passed {
		return
	}
	t.passed[c.kind]++
	switch c.answer {
	case "yes":
		t.yes++
	case "no":
		t.no++
	}
}

func (t *tally) String() string {
	var b strings.Builder
	for _, kind := range []string{"required", "optimal", "check"} {
		fmt.Fprintf(&b, "%s %d/%d, ", kind, t.passed[kind], t.total[kind])
	}
	fmt.Fprintf(&b, "of the checks yes %d and no %d; %d expect something else than the public check; cases of our own %d/%d",
		t.yes, t.no, t.differ, t.ownPassed, t.own)
	return b.String()
}

// TestBehaviour plays every case of testdata/behaviour against an edge. Cases that
// pending.txt lists must not pass: the list can only become shorter.
func TestBehaviour(t *testing.T) {
	cases := loadBehaviours(t)
	pending := loadPending(t, cases)
	counts := &tally{passed: make(map[string]int), total: make(map[string]int)}
	t.Run("case", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.id, func(t *testing.T) {
				inBubble(t, c.rules, func(t *testing.T, r *rig) {
					problems := r.run(c)
					counts.count(c, len(problems) == 0)
					switch reason := pending[c.id]; {
					case reason == "" && len(problems) > 0:
						t.Errorf("%s, %s:\n%s", c.file, c.kind, strings.Join(problems, "\n"))
					case reason != "" && len(problems) == 0:
						t.Errorf("%s passes: take it out of pending.txt", c.id)
					case reason != "":
						t.Logf("pending (%s):\n%s", reason, strings.Join(problems, "\n"))
					}
				})
			})
		}
	})
	t.Log(counts)
}

// loadPending reads "id reason" lines. An id that no case has is an error.
func loadPending(t *testing.T, cases []*behaviour) map[string]string {
	t.Helper()
	ids, public := make(map[string]bool), make(map[string]string)
	for _, c := range cases {
		if ids[c.id] {
			t.Errorf("the id %s is used twice", c.id)
		}
		ids[c.id] = true
		if other, used := public[c.public]; used && c.public != "-" {
			t.Errorf("%s and %s both stand for the public check %s", other, c.id, c.public)
		}
		public[c.public] = c.id
	}
	text, err := os.ReadFile(behaviourDir + "pending.txt")
	if err != nil {
		t.Fatal(err)
	}
	pending := make(map[string]string)
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if !ids[id] || reason == "" {
			t.Errorf("pending.txt: %q names no case, or no reason", line)
		}
		pending[id] = reason
	}
	return pending
}

// A runner that lets everything pass would be worth nothing: each of these cases is
// wrong about the edge, and has to be found out.
func TestBehaviourFindsFault(t *testing.T) {
	text, err := os.ReadFile(behaviourDir + "faulty")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := parseBehaviours(string(text))
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(cases, func(i, j int) bool { return cases[i].id < cases[j].id })
	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			inBubble(t, c.rules, func(t *testing.T, r *rig) {
				if problems := r.run(c); len(problems) == 0 {
					t.Errorf("%s passes", c.id)
				}
			})
		})
	}
}
