/**
 * The data folder of a node of the first version, whose log entries held the bytes of clients' frames: file names, and
 * contents as base64 of gzip. The node was killed; all that it applied is in its Raft log alone. Never made anew.
 *
 *     index   client's request                                             result
 *     3       openSession, window 4                                        session 3
 *     4       session 3, sequence 1: put a 1                               a @4
 *     5       sequence 3: append a 2, put b x if absent                    a, b @5
 *     6       sequence 2: append a 3, put c if it exists                   not applied
 *     7       no session: put 00ff80 ff00                                  @7
 *     8       sequence 3 again                                             as before
 *     9       session 77: put gone x, delete gone                          SESSION_EXPIRED
 *     10      no session: delete b if its value is x, put d y if absent    b is deleted, d @10
 */
export const FIRST_VERSION_FOLDER: readonly (readonly [path: string, content: string])[] = [
  [
    '/data/groups/1/state-0-0/CURRENT',
    'H4sIAAAAAAACAwvJyCxWyCxWSFQISkwrKUpNVQAROgp5+SUKiQo+qWWpOS5OCvlFCkH5ydnFLk4KKYkliUmJxakAwYrdLTkAAAA=',
  ],
  [
    '/data/groups/1/state-0-0/MANIFEST-00000001',
    'H4sIAAAAAAACA1OrC2y4sFaqWIOBgYERihmQaBhQAYnBBNlhokwwBjNMCgCYwyjTUAAAAA==',
  ],
  [
    '/data/identity.json',
    'H4sIAAAAAAACA5VQuw7CMAzc8xWWZwaHNqnoHzDwBYghD1dEggQl6YT676hpYWey7s5nn/0WAOgec6mczx5HwBKe88NU9nhYtZg8' +
      'N0E2WGrKG8be2sG4k3JMUlF37PpOExvrpKdhkGrz25DrHUd4CwAAfN1N4dVtU46tAwBDdCZHU0OKq0RKUzexVvrUK1aSFHnjjjxJ' +
      'ba2Xw9c2pTl6zgVHuDYG9i3b0F/onfgn+u5aWr0JgGW/3uRafs945fQMhf2lUUQkFvEBIJhdI1EBAAA=',
  ],
  ['/data/peers.json', 'H4sIAAAAAAACA6uu5QIABrCh3QMAAAA='],
  [
    '/data/raft/raft-00000001.log',
    'H4sIAAAAAAACA+3UT2jTUBwH8NekmVUQBA+F7SAEhghOkmZdXFV2UhQUnLChHsQ0fcg2TdesSGUKg6JzqENERD35ZwwU50n04gSZ' +
      'u6m7CF48CAMveil4ryTLK23ze8WTIHw/0KR9Td775pdfUnXurI+8PXTtDWMsEX0owbj6kjGWbD6qcfRmxph2dujH6N0zw9rWF3tq' +
      'E8vpqbJT5n1Gn0FOLMZOMMamdff8GPfKek73zJxtGKa+W5/k3I8GzHBgqlz0+ZGCntP783nbcQezLjfMrGFlrH5rwOBO3jULhm2b' +
      'Wf1KY5mlW6trl19/693Vdn1i/z3a9wZj7QfIisEYK32dT59Mf6wNSObdG33JdJpXIcai/fzno6/mvO6FfZL570dfbGp+Ma9KrakF' +
      'm6S4Dqu+4+D48tXHRck6Yq4Jah0xf5JaZ3DjxzZGhGk0QXiGE2zM1mIP/fq98qG67s/Krj/KVaVyiTwalWtYkqs5n6I0cmUSsa7N' +
      'B5uK2pJ3decBq7rSvXRDkvdwdPgslVfk7KLyjkjyKnReK57XDZbw+EXuK7E+ftbz9N6Dn59qvuz+R7X0qNwi7yYq9/623ORbZaOL' +
      '6jPBCXXqeauUpi98WXj3XNYHj5Id+kDkSv27Ptj+fs09fXvm4U1J3uPRvb5O5U01vU1jeUfb8h4jnicl7P5zRY+H0Voiq01/xSt9' +
      'Sl+cGystPpHVOdXVoc4i75a/qTNFUUU9w35LVFrqXAg2lzQGAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP+/PxsSYqLgQAAA',
  ],
];
