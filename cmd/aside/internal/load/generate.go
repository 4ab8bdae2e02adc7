package load

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/brianvoe/gofakeit/v7"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Generator generates todos with the IDs "1" to "count". A record depends only on the
// seed and its ID. So a run with another count, or after an interruption, generates
// the same records. A Generator is not safe for concurrent use.
type Generator struct {
	seed  uint64
	next  int64
	count int64
	rand  *rand.PCG
	fake  *gofakeit.Faker
}

// NewGenerator returns a Generator of count records.
func NewGenerator(count int64, seed uint64) *Generator {
	pcg := rand.NewPCG(0, 0)
	return &Generator{seed: seed, next: 1, count: count, rand: pcg, fake: gofakeit.NewFaker(pcg, false)}
}

// Extent counts records.
func (g *Generator) Extent() Extent { return Extent{Done: g.next - 1, Total: g.count, Unit: Records} }

// Extra is always empty.
func (g *Generator) Extra() map[string]int64 { return nil }

// Odd is always empty.
func (g *Generator) Odd() []Odd { return nil }

// Next returns the next record.
func (g *Generator) Next() (todo.Record, error) {
	if g.next > g.count {
		return todo.Record{}, io.EOF
	}
	t := g.At(g.next)
	g.next++
	return todo.Record{Todo: t}, nil
}

// At returns record n, from 1. The record has no times. So it is about as large in
// JSON as the records that the workloads were measured with (126 to 170 bytes).
func (g *Generator) At(n int64) todo.Todo {
	g.rand.Seed(g.seed, uint64(n))
	description := g.description()
	return todo.Todo{
		ID:          strconv.FormatInt(n, 10),
		Name:        g.name(),
		Description: &description,
		Completed:   g.fake.IntN(3) == 0,
		Version:     1,
	}
}

func (g *Generator) name() string {
	f := g.fake
	switch f.IntN(10) {
	case 0:
		return "Call " + f.Name()
	case 1:
		return "Buy " + strings.ToLower(f.Fruit()) + " and " + strings.ToLower(f.Vegetable())
	case 2:
		return "Write to " + f.Company()
	case 3:
		return "Take " + f.PetName() + " to the vet"
	case 4:
		return "Return " + f.BookTitle()
	case 5:
		return "Watch " + f.MovieName() + " with " + f.FirstName()
	case 6:
		return "Birthday present for " + f.FirstName()
	case 7:
		return "Train tickets to " + f.City()
	case 8:
		return "Learn " + strings.ToLower(f.Hobby())
	default:
		return "Look for " + strings.ToLower(f.ProductCategory())
	}
}

func (g *Generator) description() string {
	f := g.fake
	switch f.IntN(6) {
	case 0:
		return fmt.Sprintf("Before %s; ask %s at %s first.", f.WeekDay(), f.FirstName(), f.Company())
	case 1:
		return fmt.Sprintf("%s needs it by %d %s.", f.Name(), f.IntRange(1, 28), f.MonthString())
	case 2:
		return fmt.Sprintf("Waiting for an answer from %s, %s.", f.Name(), strings.ToLower(f.JobTitle()))
	case 3:
		return fmt.Sprintf("Promised to %s for %s, and again for %s.", f.FirstName(), f.WeekDay(), f.WeekDay())
	case 4:
		return fmt.Sprintf("Not more than %d.00; %s in %s may know.", f.IntRange(5, 400), f.FirstName(), f.City())
	default:
		return fmt.Sprintf("See the note of %d %s from %s.", f.IntRange(1, 28), f.MonthString(), f.Name())
	}
}
