package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// Bounds of what is read. A file beyond one of them is refused, never read in part.
const (
	maxFileBytes   = 4 << 20
	maxSecretBytes = 64 << 10
)

// pos is a place in a file, both counted from 1, the column in characters. The zero pos is the whole file.
type pos struct{ line, col int }

// source is one file that is being read. Faults are reported through it, because it knows the lines.
type source struct {
	file   string // as it is printed
	dir    string // what relative paths in it start from
	lines  []string
	report *report
}

// report collects the problems of one Load. A nil *report swallows them.
type report struct {
	problems []Problem
	seen     map[Problem]bool // a place that is reached twice, through an alias, is reported once
	more     int
}

func (r *report) add(p Problem) {
	if r == nil || r.seen[p] {
		return
	}
	if r.full() {
		r.more++
		return
	}
	if r.seen == nil {
		r.seen = make(map[Problem]bool)
	}
	r.seen[p] = true
	r.problems = append(r.problems, p)
}

// full reports whether problems are only counted from here on.
func (r *report) full() bool { return r != nil && len(r.problems) == maxProblems }

// count is how many problems there are so far.
func (r *report) count() int {
	if r == nil {
		return 0
	}
	return len(r.problems) + r.more
}

// fault reports one problem at a place.
func (s *source) fault(at pos, path, message, suggestion string) {
	if s.report.full() {
		s.report.more++
		return
	}
	s.report.add(Problem{
		File: s.file, Line: at.line, Col: at.col, Path: path,
		Message: message, Suggestion: suggestion, Snippet: s.snippet(at),
	})
}

// readSource reads a configuration file and reports what makes it unreadable: too large, not UTF-8, tabs for indentation.
// ok is false when there is no sense in parsing it.
func readSource(path string, r *report) (s *source, text string, ok bool) {
	s = &source{file: path, dir: filepath.Dir(path), report: r}
	data, err := read(path, maxFileBytes)
	if err != nil {
		s.fault(pos{}, "", reason(err), "")
		return s, "", false
	}
	text = strings.TrimPrefix(string(data), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	s.lines = strings.Split(text, "\n")
	if !utf8.ValidString(text) {
		s.faultEncoding()
		return s, "", false
	}
	return s, text, s.checkCharacters()
}

// errTooLarge says that a file is beyond its bound.
type errTooLarge struct{ limit int64 }

func (e errTooLarge) Error() string { return fmt.Sprintf("larger than %s", sizeText(e.limit)) }

// errIrregular says that a path is a pipe, a socket or a device, which a reload could wait on for ever.
var errIrregular = errors.New("it is not a regular file")

// readable reports why a regular file cannot be opened, without reading it.
func readable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return errIrregular
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// readFile reads a whole regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errIrregular
	}
	return read(path, limit)
}

// read reads all of a file of any sort, at most limit bytes.
func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, errTooLarge{limit}
	}
	return data, nil
}

// reason is why a file cannot be read, in words that do not repeat its name.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, syscall.EISDIR):
		return "it is a folder, not a file"
	}
	var large errTooLarge
	if errors.As(err, &large) {
		return "the file is " + large.Error()
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (s *source) faultEncoding() {
	for i, line := range s.lines {
		if utf8.ValidString(line) {
			continue
		}
		col := 1
		for _, c := range line {
			if c == utf8.RuneError {
				break
			}
			col++
		}
		s.fault(pos{i + 1, col}, "", "the file is not in UTF-8", "save it with the encoding UTF-8")
		return
	}
}

// checkCharacters finds what YAML does not allow and its parsers explain badly: tabs for indentation, control characters.
func (s *source) checkCharacters() bool {
	before := s.report.count()
	for i, line := range s.lines {
		content := strings.TrimLeft(line, " \t")
		indent := line[:len(line)-len(content)]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && content != "" && content[0] != '#' {
			s.fault(pos{i + 1, tab + 1}, "", "a tab in the indentation", "indent with spaces")
			continue
		}
		if c := strings.IndexFunc(line, forbidden); c >= 0 {
			s.fault(pos{i + 1, utf8.RuneCountInString(line[:c]) + 1}, "", "a control character", "take it out")
		}
	}
	return s.report.count() == before
}

// forbidden characters stand nowhere in YAML (1.2 §5.1).
func forbidden(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

const (
	snippetWidth  = 120 // characters of a line that are shown
	snippetBefore = 80  // of these, before the place
)

// snippet is the line at a place with a caret below it, "" where there is no line to show.
func (s *source) snippet(at pos) string {
	if at.line < 1 || at.line > len(s.lines) {
		return ""
	}
	line := []rune(strings.ToValidUTF8(s.lines[at.line-1], "\ufffd"))
	col := min(max(at.col, 1), len(line)+1)
	if from := col - snippetBefore; from > 0 && len(line) > snippetWidth {
		line, col = append([]rune("..."), line[from:]...), col-from+3
	}
	if len(line) > snippetWidth {
		line = append(line[:snippetWidth:snippetWidth], []rune("...")...)
	}
	for i, c := range line {
		if isControl(c) {
			line[i] = ' '
		}
	}
	number := fmt.Sprintf("%5d", at.line)
	return number + " | " + string(line) + "\n" + strings.Repeat(" ", len(number)) + " | " + strings.Repeat(" ", col-1) + "^"
}
