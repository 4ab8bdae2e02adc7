package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

const file = "../../deploy/grafana/aside.json"

func init() {
	// Without these it would take any options and any query. plugins.RegisterDefaultPlugins
	// compiles those of thirty other panels too.
	cog.NewRuntime().RegisterPanelcfgVariant(timeseries.VariantConfig())
	cog.NewRuntime().RegisterDataqueryVariant(prometheus.VariantConfig())
}

// Grafana's types take the dashboard: they know each field, and lack none that must be
// there. And what they do not look at is right: the values of enumerations, the units, the
// variables, the places of the panels.
// Caught: a legend without calcs, a link without four of its fields, a variable whose
// current choice was empty, a comment that is no field, an old schema version.
func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range check(raw) {
		t.Error(fault)
	}
	if t.Failed() {
		return
	}
	const target = `"editorMode": "code",
          "expr"`
	for _, tt := range []struct{ old, new, says string }{
		{`"annotations": {`, `"__comment": "x", "annotations": {`, "unexpected field '__comment'"},
		{`"schemaVersion": 42`, `"schemaVersion": 38`, "schemaVersion is 38"},
		{`"templating"`, `"variables"`, "templating: required field is missing"},
		{`"graphTooltip": 1`, `"graphTooltip": 7`, "GraphTooltip: 7 is no"},
		{`"keepTime": false,`, ``, "keepTime: required field is missing"},
		{`"type": "link"`, `"type": "url"`, "url is no dashboard.DashboardLinkType"},
		{`"expr": "ALERTS`, `"query": "ALERTS`, "unexpected field 'query'"},
		{`"type": "timeseries"`, `"type": "graph"`, "is no chart"},
		{`"targets"`, `"queries"`, "unexpected field 'queries'"},
		{target, `"editorMode": "code", "query"`, "unexpected field 'query'"},
		{target, `"editorMode": "text", "expr"`, "text is no prometheus.QueryEditorMode"},
		{`"legendFormat"`, `"legend"`, "unexpected field 'legend'"},
		{`"refId": "B"`, `"refId": "A"`, "a refId of its own"},
		{`"range": true`, `"range": "true"`, "range: json: cannot unmarshal string"},
		{`=~\"$job\"`, `=~\"$jobs\"`, "no variable $jobs"},
		{`${datasource}`, `${source}`, "no variable ${source"},
		{`"uid": "${datasource}"`, `"uid": "P1809F7CD0C75ACF3"`, "is not that of the variable"},
		{`"type": "prometheus"`, `"type": "loki"`, "is not that of the variable"},
		{`"options": {`, `"option": {`, "unexpected field 'option'"},
		{`"calcs": [],`, ``, "calcs: required field is missing"},
		{`"displayMode": "list"`, `"displayMode": "lists"`, "lists is no common.LegendDisplayMode"},
		{`"mode": "multi"`, `"mode": "all"`, "all is no common.TooltipDisplayMode"},
		{`"defaults": {`, `"default": {`, "defaults: required field is missing"},
		{`"min": 0`, `"minimum": 0`, "unexpected field 'minimum'"},
		{`"lineWidth"`, `"linewidth"`, "unexpected field 'linewidth'"},
		{`"fillOpacity": 5`, `"fillOpacity": "5"`, "fillOpacity: json: cannot unmarshal string"},
		{`"showPoints": "never"`, `"showPoints": "nevr"`, "nevr is no common.VisibilityMode"},
		{`"unit": "reqps"`, `"unit": "req/s"`, "the unit is not one of"},
		{`"gridPos": {`, `"gridpos": {`, "unexpected field 'gridpos'"},
		{`"x": 6,`, `"x": 5,`, "is on"},
		{`"w": 6,`, `"w": 25,`, "no place on the grid"},
		{`"id": 3,`, `"id": 2,`, "no id of its own"},
		{`"includeAll": true`, `"includeAll": "yes"`, "includeAll: json: cannot unmarshal string"},
		{`"refresh": 2`, `"refresh": 9`, "9 is no dashboard.VariableRefresh"},
		{`"type": "query"`, `"type": "querry"`, "querry is no dashboard.VariableType"},
		{`"current": {`, `"current": {}, "was": {`, "current.text: required field is missing"},
	} {
		changed := strings.Replace(string(raw), tt.old, tt.new, 1)
		if changed == string(raw) {
			t.Errorf("%q is not in %s", tt.old, file)
		}
		if faults := strings.Join(check([]byte(changed)), "\n"); !strings.Contains(faults, tt.says) {
			t.Errorf("%q instead of %q: want %q in\n%s", tt.new, tt.old, tt.says, faults)
		}
	}
}

// check returns all faults of a dashboard.
func check(raw []byte) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	failed := func(err error) {
		var all cog.BuildErrors // never nil: it may have no errors in it
		if !errors.As(err, &all) && err != nil {
			fault("%v", err)
		}
		for _, e := range all {
			fault("%v", e)
		}
	}
	//lint:ignore SA1019 dashboardv2 is a format that older releases of Grafana do not read
	failed(new(dashboard.Dashboard).UnmarshalJSONStrict(raw)) // it keeps no panels
	//lint:ignore SA1019 as above
	var d dashboard.Dashboard
	failed(json.Unmarshal(raw, &d))
	failed(d.Validate())
	if latest := dashboard.NewDashboard().SchemaVersion; d.SchemaVersion != latest {
		fault("schemaVersion is %d, that of the types is %d", d.SchemaVersion, latest)
	}
	walk(reflect.ValueOf(d), "dashboard", fault)

	variables := []string{"__rate_interval", "__all"} // Grafana's own
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, m := range variable.FindAllStringSubmatch(string(raw), -1) {
		if !slices.Contains(variables, m[1]) {
			fault("there is no variable %s", m[0])
		}
	}
	ids, taken := map[uint32]bool{}, map[[2]uint32]string{}
	place := func(what string, id *uint32, at *dashboard.GridPos) {
		if id == nil || ids[*id] {
			fault("%s: it has no id of its own", what)
		} else {
			ids[*id] = true
		}
		if at == nil || at.W == 0 || at.H == 0 || at.X+at.W > 24 {
			fault("%s: it has no place on the grid: %+v", what, at)
			return
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" {
					fault("%s is on %s", what, other)
					return
				}
				taken[[2]uint32{x, y}] = what
			}
		}
	}
	for i, p := range d.Panels {
		switch {
		case p.RowPanel != nil && p.RowPanel.Title != nil:
			place("row "+*p.RowPanel.Title, &p.RowPanel.Id, p.RowPanel.GridPos)
		case p.Panel == nil || p.Panel.Title == nil || p.Panel.FieldConfig == nil || p.Panel.Type != "timeseries":
			fault("panels[%d] is no chart: %+v", i, p.Panel)
		default:
			place(*p.Panel.Title, p.Panel.Id, p.Panel.GridPos)
			if unit := p.Panel.FieldConfig.Defaults.Unit; unit == nil || !slices.Contains(known, *unit) {
				fault("%s: the unit is not one of %v", *p.Panel.Title, known)
			}
			var refs []string
			for _, target := range p.Panel.Targets {
				q, ok := target.(*prometheus.Dataquery)
				if !ok || q.RefId == nil || slices.Contains(refs, *q.RefId) {
					fault("%s: a query is not one of Prometheus with a refId of its own: %+v", *p.Panel.Title, target)
					continue
				}
				refs = append(refs, *q.RefId)
			}
		}
	}
	// Grafana's types decode these without being strict.
	var loose struct {
		Panels []struct {
			Title       string
			FieldConfig json.RawMessage
		}
	}
	failed(json.Unmarshal(raw, &loose))
	for _, p := range loose.Panels {
		if p.FieldConfig == nil {
			continue
		}
		var c dashboard.FieldConfigSource
		if err := c.UnmarshalJSONStrict(p.FieldConfig); err != nil {
			failed(fmt.Errorf("%s: %w", p.Title, err))
		}
	}
	return faults
}

var variable = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)

// known are the units that the panels may have. Grafana shows any other word as it is.
var known = []string{
	units.Short, units.Seconds, units.BytesIEC, units.BytesPerSecondSI, units.PercentUnit, units.OpsPerSecond, units.RequestsPerSecond,
}

// enums are the values of the enumerations. The types take any string or number for them.
var enums = map[reflect.Type][]any{}

func enum[T any](values ...T) {
	for _, v := range values {
		enums[reflect.TypeFor[T]()] = append(enums[reflect.TypeFor[T]()], v)
	}
}

func init() {
	enum(dashboard.DashboardCursorSyncOff, dashboard.DashboardCursorSyncCrosshair, dashboard.DashboardCursorSyncTooltip)
	enum(dashboard.DashboardLinkTypeLink, dashboard.DashboardLinkTypeDashboards)
	enum(dashboard.VariableTypeQuery, dashboard.VariableTypeDatasource)
	enum(dashboard.VariableRefreshOnDashboardLoad, dashboard.VariableRefreshOnTimeRangeChanged)
	enum(dashboard.VariableSortAlphabeticalAsc, dashboard.VariableSortNaturalAsc)
	enum(common.VisibilityModeAuto, common.VisibilityModeNever, common.VisibilityModeAlways)
	enum(common.LegendDisplayModeList, common.LegendDisplayModeTable)
	enum(common.LegendPlacementBottom, common.LegendPlacementRight)
	enum(common.TooltipDisplayModeSingle, common.TooltipDisplayModeMulti)
	enum(common.SortOrderAscending, common.SortOrderDescending, common.SortOrderNone)
	enum(prometheus.QueryEditorModeBuilder, prometheus.QueryEditorModeCode)
}

// walk reports each enumeration in v with a value that is not one of its own, and each
// data source that a user could not choose.
func walk(v reflect.Value, where string, fault func(string, ...any)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), where, fault)
		}
	case reflect.Struct:
		if s, ok := v.Interface().(common.DataSourceRef); ok && (s.Type == nil || s.Uid == nil || *s.Type != "prometheus" || *s.Uid != "${datasource}") {
			fault("%s: the data source is not that of the variable", where)
		}
		for i := range v.NumField() {
			walk(v.Field(i), where+"."+v.Type().Field(i).Name, fault)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), fmt.Sprintf("%s[%d]", where, i), fault)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walk(v.MapIndex(k), where+"."+fmt.Sprint(k), fault)
		}
	case reflect.String, reflect.Int64:
		if v.Type().PkgPath() == "" {
			return // no enumeration
		}
		if !slices.Contains(enums[v.Type()], v.Interface()) {
			fault("%s: %v is no %v, or the test does not know it", where, v.Interface(), v.Type())
		}
	}
}
