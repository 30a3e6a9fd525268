--- The services that people can be told by, in the order of the reference. A new one is a file of this
--- folder and a line here. Such a file returns
---
---   name   mk.notify.<name>
---   doc    one sentence
---   keys   its options, as definitions/tables.lua has them; the first can be given by itself
---   pings  true: it is told of everything, as it happens: nothing is left out as told before
---   send   function(options, event, message): sends, or raises. Secrets in `options` have been read;
---          `event`: see moonkeep.notify.event; `message`: { title, text, custom }, what to say
---
--- What those that are told by HTTP share is in post.lua. The definitions are made from them all, so
--- they require what needs those (moonkeep.http) in `send`.
return {
  require "moonkeep.notify.webhook",
  require "moonkeep.notify.slack",
  require "moonkeep.notify.email",
  require "moonkeep.notify.healthchecks",
  require "moonkeep.notify.command",
}
