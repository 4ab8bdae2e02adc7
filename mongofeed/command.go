package mongofeed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	// batchSize is how many events the server sends at once.
	batchSize = 1000
	// killTimeout bounds the closing of a cursor. The server closes it by itself later.
	killTimeout = 500 * time.Millisecond
	// farAhead is a deadline beyond those that the driver sends to the server.
	farAhead = 30 * 24 * time.Hour
)

// The commands are sent one by one, not with the driver's ChangeStream: that opens the
// stream again after an error by itself, for ever and without a pause. So a server on which
// opening succeeds and reading fails would take all of a processor.

// reply is the answer to aggregate or getMore.
type reply struct {
	id     int64 // of the cursor; 0: it has ended
	events []bson.Raw
	token  bson.Raw       // behind the events
	opTime bson.Timestamp // of the server; zero: it tells none
}

// run sends a command to the primary and returns the answer, or an error after limit.
func (s *stream) run(ctx context.Context, limit time.Duration, cmd bson.D) (bson.Raw, error) {
	// The driver sends the time until a deadline as maxTimeMS, in getMore beside that of
	// the command. So the limit is no deadline, and the deadline is one that is not sent.
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	defer time.AfterFunc(limit, func() { cancel(errNoAnswer) }).Stop()
	run, done := context.WithDeadline(run, time.Now().Add(farAhead))
	defer done()

	raw, err := s.f.coll.Database().RunCommand(mongo.NewSessionContext(run, s.sess), cmd).Raw()
	if err == nil || run.Err() == nil {
		return raw, err
	}
	if cause := context.Cause(run); !errors.Is(cause, errNoAnswer) {
		return nil, cause
	}
	return nil, fmt.Errorf("%w (%v): %w", errNoAnswer, limit, err)
}

// collection is what the database says of the collection.
type collection struct {
	uuid   []byte // nil: there is none
	images bool   // it has pre-images
}

func (s *stream) collection(ctx context.Context, limit time.Duration) (collection, error) {
	raw, err := s.run(ctx, limit, bson.D{
		{Key: "listCollections", Value: 1},
		{Key: "filter", Value: bson.D{{Key: "name", Value: s.f.coll.Name()}}},
	})
	if err != nil {
		return collection{}, err
	}
	var list struct {
		Cursor struct {
			FirstBatch []struct {
				Name, Type string
				Info       struct{ UUID bson.RawValue }
				Options    struct {
					ChangeStreamPreAndPostImages struct{ Enabled bool } `bson:"changeStreamPreAndPostImages"`
				}
			} `bson:"firstBatch"`
		}
	}
	if err := bson.Unmarshal(raw, &list); err != nil {
		return collection{}, fmt.Errorf("listCollections: %w", err)
	}
	for _, c := range list.Cursor.FirstBatch {
		if c.Name != s.f.coll.Name() {
			continue // A server that does not filter.
		}
		if c.Type != "" && c.Type != "collection" {
			return collection{}, fmt.Errorf("it is a %s: only collections have change streams", c.Type)
		}
		_, uuid, _ := c.Info.UUID.BinaryOK()
		return collection{uuid, c.Options.ChangeStreamPreAndPostImages.Enabled}, nil
	}
	return collection{}, nil
}

// isMongos reports whether the server is the router of a sharded cluster.
func (s *stream) isMongos(ctx context.Context) bool {
	raw, err := s.run(ctx, s.f.opts.Silence, bson.D{{Key: "hello", Value: 1}})
	if err != nil {
		return false // a server that does not know the command, or the next command fails too
	}
	msg, _ := raw.Lookup("msg").StringValueOK()
	return msg == "isdbgrid"
}

// aggregate opens a cursor at s.at.
func (s *stream) aggregate(ctx context.Context, limit time.Duration) (reply, error) {
	spec := bson.D{}
	if s.at.Token != nil {
		// Unlike resumeAfter it goes on after the collection was dropped too.
		spec = append(spec, bson.E{Key: "startAfter", Value: s.at.Token})
	}
	if s.useImages() {
		spec = append(spec, bson.E{Key: "fullDocumentBeforeChange", Value: "whenAvailable"})
	}
	raw, err := s.run(ctx, limit, bson.D{
		{Key: "aggregate", Value: s.f.coll.Name()},
		{Key: "pipeline", Value: bson.A{
			bson.D{{Key: "$changeStream", Value: spec}},
			bson.D{{Key: "$project", Value: s.f.fields(s.useImages())}},
		}},
		{Key: "cursor", Value: bson.D{{Key: "batchSize", Value: batchSize}}},
		{Key: "readConcern", Value: bson.D{{Key: "level", Value: "majority"}}},
		{Key: "comment", Value: "aside mongofeed"},
	})
	if err != nil {
		return reply{}, err
	}
	return parseReply(raw, "firstBatch")
}

func (s *stream) getMore(ctx context.Context, id int64, wait, limit time.Duration) (reply, error) {
	cmd := bson.D{
		{Key: "getMore", Value: id},
		{Key: "collection", Value: s.f.coll.Name()},
		{Key: "batchSize", Value: batchSize},
		{Key: "maxTimeMS", Value: wait.Milliseconds()},
	}
	raw, err := s.run(ctx, limit, cmd)
	// A client may know several routers, of which one has the cursor. The driver chooses
	// one for each command.
	for try := 0; s.mongos && try < routerTries && hasCode(err, codeCursorNotFound); try++ {
		raw, err = s.run(ctx, limit, cmd)
	}
	if err != nil {
		return reply{}, err
	}
	return parseReply(raw, "nextBatch")
}

// routerTries is enough to find one router of four with a probability of 99.99 %.
const routerTries = 32

// kill closes a cursor, if the server answers.
func (s *stream) kill(id int64) {
	if id == 0 {
		return
	}
	_, _ = s.run(context.Background(), killTimeout, bson.D{
		{Key: "killCursors", Value: s.f.coll.Name()}, {Key: "cursors", Value: bson.A{id}},
	})
}

func parseReply(raw bson.Raw, batch string) (reply, error) {
	cursor, ok := raw.Lookup("cursor").DocumentOK()
	if !ok {
		return reply{}, errors.New("the answer has no cursor")
	}
	var r reply
	if r.id, ok = cursor.Lookup("id").AsInt64OK(); !ok {
		return reply{}, errors.New("the answer has no id of the cursor")
	}
	if list, ok := cursor.Lookup(batch).ArrayOK(); ok {
		values, err := list.Values()
		if err != nil {
			return reply{}, fmt.Errorf("the answer is damaged: %w", err)
		}
		r.events = make([]bson.Raw, len(values))
		for i, v := range values {
			if r.events[i], ok = v.DocumentOK(); !ok {
				return reply{}, errors.New("an event is no document")
			}
		}
	}
	if token, ok := cursor.Lookup("postBatchResumeToken").DocumentOK(); ok {
		r.token = token
	} else if n := len(r.events); n > 0 {
		if token, ok := r.events[n-1].Lookup(idField).DocumentOK(); ok {
			r.token = token
		}
	}
	if t, i, ok := raw.Lookup("operationTime").TimestampOK(); ok {
		r.opTime = bson.Timestamp{T: t, I: i}
	}
	return r, nil
}
