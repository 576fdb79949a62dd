package house

import (
	"regexp"
	"strings"
)

var (
	machinePath  = regexp.MustCompile(`(?:^|[^\w.~/-])/(?:work|root|farm)(?:/|\b)`)
	temporary    = regexp.MustCompile(`(?:^|[^\w.~/-])/tmp/`)
	registryHost = regexp.MustCompile(`\b(?:proxy\.golang\.org|sum\.golang\.org|registry\.npmjs\.org|pypi\.org|(?:deb|security)\.debian\.org|registry-1\.docker\.io)\b`)
)

func checkMachine(tree []*source) []finding {
	var found []finding
	for _, s := range tree {
		if s.test() || strings.Contains("/"+s.path, "/testdata/") {
			continue
		}
		prose := strings.HasSuffix(s.path, ".md")
		for i, line := range strings.Split(s.text, "\n") {
			if machinePath.MatchString(line) || registryHost.MatchString(line) || !prose && temporary.MatchString(line) {
				found = append(found, finding{s.path, i + 1, strings.TrimSpace(line)})
			}
		}
	}
	return found
}

// fence is a fenced block of a Markdown file.
type fence struct {
	line     int // of its first line
	language string
	text     string // its lines without the indentation of the fence
	above    string // the last line before it that is not empty
}

// fences lists the fenced blocks of a Markdown text.
func fences(text string) []fence {
	var all []fence
	var open *fence
	indent, above := "", ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch mark, isFence := strings.CutPrefix(trimmed, "```"); {
		case isFence && open == nil:
			indent = line[:strings.Index(line, "`")]
			language, _, _ := strings.Cut(strings.TrimSpace(mark), " ")
			open = &fence{line: i + 2, language: language, above: above}
		case isFence:
			all = append(all, *open)
			open, above = nil, ""
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case trimmed != "":
			above = trimmed
		}
	}
	return all
}

func checkTestCommand(tree []*source) []finding {
	var ran, promised []string
	for _, s := range tree {
		switch s.path {
		case ".ci/run":
			ran = testCommands(s.text)
		case "README.md":
			for _, block := range fences(s.text) {
				if block.language == "sh" || block.language == "console" {
					promised = append(promised, testCommands(block.text)...)
				}
			}
		}
	}
	var found []finding
	if len(promised) == 0 {
		found = append(found, finding{"README.md", 0, "shows no command that begins with go test"})
	}
	for _, command := range promised {
		same := false
		for _, each := range ran {
			same = same || command == each
		}
		if !same {
			found = append(found, finding{".ci/run", 0, "does not run " + command + ", which the README shows; it runs " + strings.Join(ran, ", ")})
		}
	}
	return found
}

// testCommands lists the commands of a script that run tests. The race detector
// needs a C compiler, so the README may leave it out and CI does not.
func testCommands(script string) []string {
	var all []string
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		command := strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "$ ")), " ")
		if strings.HasPrefix(command, "go test ") {
			all = append(all, strings.Replace(command, " -race", "", 1))
		}
	}
	return all
}
