package torchfile

import (
	"io"
	"strconv"
	"strings"
)

// Groups are the parameter groups of an optimizer's state.
type Groups struct {
	Path   string // of the state, as in the tensors' names; "" where it is all the file holds
	Groups []Group
}

// Group says which parameters it holds by their keys in the state: the moments of
// one are the tensors Path.state.KEY.exp_avg and so on. Names are the parameters'
// own, where the optimizer was given them; else there are none.
type Group struct {
	Params, Names []string
}

// Optimizers finds every optimizer state in a file of size bytes: a dict of state
// and param_groups, in dicts and lists. The error is as that of Parse.
func Optimizers(r io.ReaderAt, size int64) ([]Groups, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	var found []Groups
	for _, root := range f.roots {
		s := search{path: root.path, seen: map[value]bool{}}
		s.visit(root.value)
		found = append(found, s.found...)
	}
	return found, nil
}

// searchDepth is how deep an optimizer state may lie in other dicts and lists.
const searchDepth = 8

// search walks dicts and lists for optimizer states.
type search struct {
	path  []string
	seen  map[value]bool
	found []Groups
}

func (s *search) visit(v value) {
	if len(s.path) > searchDepth || s.seen[v] {
		return
	}
	switch c := v.(type) {
	case *dict:
		s.seen[v] = true
		if groups, ok := readGroups(c); ok {
			s.found = append(s.found, Groups{strings.Join(s.path, "."), groups})
			return
		}
		for i := 0; i+1 < len(c.items); i += 2 {
			s.child(keyText(c.items[i]), c.items[i+1])
		}
	case *list:
		s.seen[v] = true
		for i, item := range c.items {
			s.child(strconv.Itoa(i), item)
		}
	}
}

func (s *search) child(key string, v value) {
	s.path = append(s.path, key)
	s.visit(v)
	s.path = s.path[:len(s.path)-1]
}

// readGroups reads the groups of a dict that is an optimizer state.
func readGroups(d *dict) ([]Group, bool) {
	_, isState := d.get("state").(*dict)
	groupList, ok := d.get("param_groups").(*list)
	if !ok || !isState {
		return nil, false
	}
	var groups []Group
	for _, v := range groupList.items {
		g, ok := v.(*dict)
		if !ok {
			return nil, false
		}
		groups = append(groups, Group{keys(g.get("params")), keys(g.get("param_names"))})
	}
	return groups, true
}

// keys lists the parameters of a group: numbers, or names.
func keys(v value) (all []string) {
	l, ok := v.(*list)
	if !ok {
		return nil
	}
	for _, k := range l.items {
		all = append(all, keyText(k))
	}
	return all
}
