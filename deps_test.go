package excpfs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says which of our packages each may import. A package comes after all
// that it imports; its tests may import whatever comes before it. Do not add an
// arrow to make a build pass: find out first why it was not needed so far.
var arrows = []struct{ folder, imports string }{
	{".", ""},
	{"tensor", ""},
	{"safetensors", "tensor"},
	{"torchfile", "tensor"},
	{"pair", "tensor"},
	{"archive", "tensor"},
	{"codec", "tensor"},
	{"cache", ""},
	{"decode", "archive cache codec tensor"},
	{"encode", "archive codec decode tensor"},
	{"excp", "codec safetensors tensor torchfile"},
	{"zipnn", "codec safetensors tensor"},
	{"host", ""},
	{"store", "archive cache decode host tensor"},
	{"seal", "archive cache decode encode pair safetensors store tensor torchfile"},
	{"fs", "archive decode store"},
	{"cmd/excpfs", "archive cache codec decode encode excp fs host safetensors seal store tensor zipnn"},
	{"tests", "archive cache codec decode encode fs host safetensors seal store tensor"},
	{"tests/bench", "archive cache codec decode encode fs host safetensors seal store tensor"},
	{"tests/hashes", "archive cache decode"},
}

// only names the packages that may import a module of others at all.
var only = map[string]string{
	"github.com/hanwen/go-fuse": "fs",
}

const module = "excpfs/"

// goFile is what the tests below need of a source file.
type goFile struct {
	folder, path string
	test         bool
	*ast.File
}

// sources parses every Go file of the module. It reads the files itself: what a
// child process reads (go list) does not count for the test cache.
func sources(t *testing.T) (files []goFile) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (name == "testdata" || name == "vendor" || strings.ContainsAny(name[:1], "._")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		files = append(files, goFile{filepath.ToSlash(filepath.Dir(path)), path, strings.HasSuffix(name, "_test.go"), f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// line is the place of a folder in the table, -1 if it has none.
func line(folder string) int {
	for i, a := range arrows {
		if a.folder == folder {
			return i
		}
	}
	return -1
}

func TestArrows(t *testing.T) {
	for i, a := range arrows {
		for _, p := range strings.Fields(a.imports) {
			if n := line(p); n < 0 || n >= i {
				t.Errorf("table: %s imports %s, which does not come before it", a.folder, p)
			}
		}
	}
}

func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		at := line(f.folder)
		if at < 0 {
			t.Errorf("%s: folder %s is not in the table of deps_test.go", f.path, f.folder)
			continue
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if ours, ok := strings.CutPrefix(p, module); ok {
				allowed := slices.Contains(strings.Fields(arrows[at].imports), ours)
				if n := line(ours); !allowed && !(f.test && n >= 0 && n <= at) {
					t.Errorf("%s: %s may not import %s", f.path, f.folder, ours)
				}
			}
			for mod, folder := range only {
				if strings.HasPrefix(p, mod) && f.folder != folder {
					t.Errorf("%s: only %s imports %s", f.path, folder, mod)
				}
			}
		}
	}
}

// Every package says what it is for, once.
func TestPackageComments(t *testing.T) {
	type count struct{ files, comments int }
	code, tests := map[string]count{}, map[string]count{}
	for _, f := range sources(t) {
		m := code
		if f.test {
			m = tests
		}
		c := m[f.folder]
		c.files++
		if f.Doc != nil {
			c.comments++
		}
		m[f.folder] = c
	}
	for folder, c := range tests { // a folder of nothing but tests
		if code[folder].files == 0 {
			code[folder] = c
		}
	}
	for folder, c := range code {
		if c.comments != 1 {
			t.Errorf("%s: %d package comments", folder, c.comments)
		}
	}
}
